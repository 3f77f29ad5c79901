// One call: WebRTC to this site and the OpenAI Realtime events on its data channel.

const CONNECT_LIMIT_MS = 10_000;

export class CallRefused extends Error {
  // `status` is the HTTP status, or 0 where there was none; `code` the API's, where there is one.
  constructor(message, status = 0, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class Call extends EventTarget {
  #peer = new RTCPeerConnection();
  #channel = this.#peer.createDataChannel("oai-events");
  #place = null;
  #key;
  #ended = false;

  // `microphone`: a MediaStream, or null for a call in which one types.
  constructor(microphone, key) {
    super();
    this.#key = key;
    this.sound = new Promise((resolve) => {
      this.#peer.ontrack = (event) => resolve(event.streams[0] ?? new MediaStream([event.track]));
    });
    const track = microphone?.getAudioTracks()[0];
    if (track) this.#peer.addTrack(track, microphone);
    else this.#peer.addTransceiver("audio", { direction: "recvonly" });
    this.#channel.onmessage = (message) => this.#heard(message.data);
    this.#channel.onclose = () => this.end("the site ended the call");
    this.#peer.onconnectionstatechange = () => {
      const state = this.#peer.connectionState;
      this.dispatchEvent(new CustomEvent("state", { detail: state }));
      if (state === "failed") this.end("the connection failed");
    };
  }

  // Resolves when events can be sent. Throws CallRefused with the site's own words.
  async connect() {
    const opened = new Promise((resolve, reject) => {
      this.#channel.onopen = resolve;
      setTimeout(() => reject(new CallRefused("no connection within 10 s; is UDP to the site blocked?")), CONNECT_LIMIT_MS);
    });
    opened.catch(() => {});
    await this.#peer.setLocalDescription();
    // A model without tools of its own is spoken to without.
    const { text, place } = await this.#offer({ "x-firsthop-tools": "server" }).catch((refused) => {
      if (refused.code !== "unsupported_tools") throw refused;
      return this.#offer({});
    });
    this.#place = place;
    await this.#peer.setRemoteDescription({ type: "answer", sdp: text });
    await opened;
  }

  send(event) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify(event));
  }

  end(reason = "") {
    if (this.#ended) return;
    this.#ended = true;
    this.#channel.onclose = null;
    this.#hangUp().finally(() => this.#peer.close());
    this.dispatchEvent(new CustomEvent("ended", { detail: reason }));
  }

  async #offer(wishes) {
    const headers = { "content-type": "application/sdp", ...wishes };
    if (this.#key) headers.authorization = `Bearer ${this.#key}`;
    const answer = await fetch("/v1/realtime/calls?notice=true", {
      method: "POST",
      headers,
      body: this.#peer.localDescription.sdp,
    }).catch(() => {
      throw new CallRefused("the site does not answer");
    });
    const text = await answer.text();
    if (!answer.ok) throw refusal(text, answer.status);
    return { text, place: answer.headers.get("location") };
  }

  // Before the connection ends: with it the site forgets the call.
  async #hangUp() {
    if (!this.#place) return;
    const headers = this.#key ? { authorization: `Bearer ${this.#key}` } : {};
    await fetch(this.#place, { method: "DELETE", headers, keepalive: true }).catch(() => {});
  }

  #heard(data) {
    const event = JSON.parse(data);
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }
}

function refusal(body, status) {
  try {
    const { message, code } = JSON.parse(body).error;
    return new CallRefused(message, status, code);
  } catch {
    return new CallRefused("it did not say why", status);
  }
}
