// Search without a server: browsers start no worker from file://, so its script runs in a frame.
(() => {
  if (location.protocol !== "file:") return;

  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      // a frame with srcdoc has the origin of its page, so both can reach each other
      this.frame.srcdoc = `<!doctype html><script src="${url}"></` + "script>";
      this.ready = new Promise((resolve) => this.frame.addEventListener("load", resolve));
      this.ready.then(() => {
        this.frame.contentWindow.postMessage = (data) => this.hear(data);
      });
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.ready.then(() => {
        const inner = this.frame.contentWindow;
        inner.dispatchEvent(new inner.MessageEvent("message", { data }));
      });
    }

    terminate() {
      this.frame.remove();
    }

    hear(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    }
  }

  window.IFrameWorker = FrameWorker; // the name that Material's search looks for
  window.Worker = FrameWorker;
})();
