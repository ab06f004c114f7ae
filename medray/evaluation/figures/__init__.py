"""What is counted of each answer, and the figures that its sums give: `texts` of words,
`claim_overlap` and `errors` of what is read in them, `calibration` of how sure they are.
"""
