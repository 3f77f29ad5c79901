// One call: WebRTC to a site and the OpenAI Realtime events on its data channel.
//
// `call.session` and `call.alternates` are what another call needs to go on with its session,
// there or at another site.

const CONNECT_LIMIT_MS = 10_000;
const PROBE_LIMIT_MS = 2_000;

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
  #drains = false;

  // `microphone`: a MediaStream, or null for a call in which one types. `site`: an origin, "" for
  // this one. `session`: what an earlier call was told, or "".
  constructor(microphone, key, { site = "", session = "" } = {}) {
    super();
    this.#key = key;
    this.site = site;
    this.session = session;
    this.isUp = false;
    this.alternates = [];
    this.sound = new Promise((resolve) => {
      this.#peer.ontrack = (event) => resolve(event.streams[0] ?? new MediaStream([event.track]));
    });
    const track = microphone?.getAudioTracks()[0];
    if (track) this.#peer.addTrack(track, microphone);
    else this.#peer.addTransceiver("audio", { direction: "recvonly" });
    this.#channel.onmessage = (message) => this.#heard(message.data);
    this.#channel.onclose = () => this.#lost("the site ended the call");
    this.#peer.onconnectionstatechange = () => {
      const state = this.#peer.connectionState;
      this.dispatchEvent(new CustomEvent("state", { detail: state }));
      if (state === "disconnected") this.#lost("");
      if (state === "failed") this.end("the connection failed", true);
    };
  }

  // Resolves when events can be sent. Throws CallRefused with the site's own words.
  async connect() {
    const opened = new Promise((resolve, reject) => {
      this.#channel.onopen = resolve;
      this.addEventListener("ended", () => reject(new CallRefused("the call has ended")));
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
    this.isUp = true;
  }

  send(event) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify(event));
  }

  // `isLost`: the session may go on in another call.
  end(reason = "", isLost = false) {
    if (this.#ended) return;
    this.#ended = true;
    this.#channel.onclose = null;
    this.#hangUp().finally(() => this.#peer.close());
    this.dispatchEvent(new CustomEvent("ended", { detail: { reason, isLost } }));
  }

  async #offer(wishes) {
    const headers = { "content-type": "application/sdp", ...wishes };
    if (this.#key) headers.authorization = `Bearer ${this.#key}`;
    if (this.session) headers["x-firsthop-session"] = this.session;
    const answer = await fetch(`${this.site}/v1/realtime/calls?notice=true`, {
      method: "POST",
      headers,
      body: this.#peer.localDescription.sdp,
    }).catch(() => {
      throw new CallRefused("the site does not answer");
    });
    const text = await answer.text();
    if (!answer.ok) throw refusal(text, answer.status);
    this.session = answer.headers.get("x-firsthop-session") ?? "";
    this.alternates = answer.headers.get("x-firsthop-alternates")?.split(", ") ?? [];
    return { text, place: this.site + answer.headers.get("location") };
  }

  // Before the connection ends: with it the site forgets the call.
  async #hangUp() {
    if (!this.#place) return;
    const headers = this.#key ? { authorization: `Bearer ${this.#key}` } : {};
    await fetch(this.#place, { method: "DELETE", headers, keepalive: true }).catch(() => {});
  }

  // A site that is there has ended the call because it meant to; or its packets go astray, and the
  // connection will come back or fail.
  async #lost(reason) {
    const signal = AbortSignal.timeout(PROBE_LIMIT_MS);
    const probe = { mode: "no-cors", cache: "no-store", signal };
    const isThere = await fetch(`${this.site}/healthz`, probe).then(() => true, () => false);
    if (this.#drains || !isThere) this.end("the site is gone", true);
    else if (reason) this.end(reason);
  }

  #heard(data) {
    const event = JSON.parse(data);
    if (event.type === "error") this.#drains ||= event.error.code === "site_draining";
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
