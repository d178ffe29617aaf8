// The site's search where its pages are opened as files: browsers start no Worker from file://,
// so a hidden frame, which has a scope and a message queue of its own, stands for it.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const scope = (this.scope = frame.contentWindow);
      scope.postMessage = (data) => {
        const message = new MessageEvent("message", { data });
        this.dispatchEvent(message);
        if (this.onmessage) this.onmessage(message);
      };
      scope.importScripts = (...urls) => Promise.all(urls.map((each) => this.load(each)));
      this.load(url).then(() => {
        this.isReady = true;
        this.waiting.forEach((data) => this.postMessage(data));
      });
    }
    load(url) {
      return new Promise((done, failed) => {
        const script = this.scope.document.createElement("script");
        script.src = new URL(url, location).href;
        script.onload = done;
        script.onerror = () => failed(new Error(`cannot load ${script.src}`));
        this.scope.document.head.append(script);
      });
    }
    postMessage(data) {
      if (this.isReady) this.scope.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }
    terminate() {
      this.scope.frameElement.remove();
    }
  };
