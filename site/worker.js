/* Search in pages that are opened from disk, where browsers refuse workers: in a frame instead. */
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      this.inner.postMessage = (data) => this.hand(data);
      const script = frame.contentDocument.createElement("script");
      this.loaded = new Promise((resolve) => script.addEventListener("load", resolve));
      script.src = address;
      frame.contentDocument.body.append(script);
    }
    hand(data) {
      const event = new MessageEvent("message", { data });
      this.onmessage?.(event);
      this.dispatchEvent(event);
    }
    async postMessage(data) {
      await this.loaded;
      this.inner.onmessage?.({ data });
    }
    terminate() {
      this.inner.frameElement.remove();
    }
  };
