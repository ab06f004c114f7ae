"""The recipe of the tiny localiser: a CLIPSeg that finds a phantom's lesion and its heart."""
