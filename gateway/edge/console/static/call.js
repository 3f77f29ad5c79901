// One call: WebRTC to a site and the OpenAI Realtime events on its data channel. It goes on by
// itself when its connection is lost, and when its site is.

const CONNECT_LIMIT_MS = 10_000;
const COME_BACK_LIMIT_MS = 25_000; // the site keeps a lost call for 30 s, unless told otherwise
const COME_BACK_PAUSE_MS = 500;
const PROBE_LIMIT_MS = 2_000;
const CALLS = "/v1/realtime/calls?notice=true";

export class CallRefused extends Error {
  // `status` is the HTTP status, or 0 where there was none; `code` the API's, where there is one.
  constructor(message, status = 0, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// Tells "event" (the site's), "sound" (the agent's, as a MediaStream, anew with each connection),
// "lost" and "back" while it goes on by itself, and "ended" with the reason.
export class Call extends EventTarget {
  #microphone;
  #key;
  #site = ""; // an origin, or this page's
  #place = ""; // the URL of the call
  #session = ""; // its token, with which it goes on at any site
  #alternates = [];
  #line = null; // the connection that it goes by: { peer, channel }
  #drains = false;
  #ended = false;

  // `microphone`: a MediaStream, or null for a call in which one types.
  constructor(microphone, key) {
    super();
    this.#microphone = microphone;
    this.#key = key;
  }

  // Resolves when events can be sent. Throws CallRefused with the site's own words.
  async connect() {
    await this.#connect(CALLS);
  }

  send(event) {
    const channel = this.#line?.channel;
    if (channel?.readyState === "open") channel.send(JSON.stringify(event));
  }

  end(reason = "") {
    if (this.#ended) return;
    this.#ended = true;
    const line = this.#line;
    this.#line = null;
    this.#hangUp().finally(() => drop(line));
    this.#tell("ended", reason);
  }

  // A new connection; `url` is where it is offered, `session` the token of the one to go on with.
  async #connect(url, session = "") {
    this.#drains = false;
    const line = this.#newLine();
    try {
      const opened = isOpen(line.channel);
      await line.peer.setLocalDescription();
      const text = await this.#offer(url, session, line.peer.localDescription.sdp);
      await line.peer.setRemoteDescription({ type: "answer", sdp: text });
      await opened;
      if (this.#ended) throw new CallRefused("the call has ended");
    } catch (refused) {
      drop(line);
      throw refused;
    }
    this.#line = line;
    line.channel.onclose = () => this.#closed(line);
    line.peer.onconnectionstatechange = () => {
      if (["disconnected", "failed"].includes(line.peer.connectionState)) this.#goOn(line);
    };
  }

  #newLine() {
    const peer = new RTCPeerConnection();
    const channel = peer.createDataChannel("oai-events");
    peer.ontrack = ({ streams, track }) => this.#tell("sound", streams[0] ?? new MediaStream([track]));
    const track = this.#microphone?.getAudioTracks()[0];
    if (track) peer.addTrack(track, this.#microphone);
    else peer.addTransceiver("audio", { direction: "recvonly" });
    channel.onmessage = ({ data }) => this.#heard(JSON.parse(data));
    return { peer, channel };
  }

  async #offer(url, session, sdp) {
    const headers = { ...this.#credentials, "content-type": "application/sdp" };
    if (session) headers["x-firsthop-session"] = session;
    const site = new URL(url, location.href).origin;
    const signal = AbortSignal.timeout(CONNECT_LIMIT_MS);
    const post = (wishes) =>
      answerTo(url, { method: "POST", headers: { ...headers, ...wishes }, body: sdp, signal });
    // A model without tools of its own is spoken to without.
    const answer = await post({ "x-firsthop-tools": "server" }).catch((refused) => {
      if (refused.code !== "unsupported_tools") throw refused;
      return post({});
    });
    this.#site = site;
    this.#place = site + answer.headers.get("location");
    this.#session = answer.headers.get("x-firsthop-session") ?? "";
    this.#alternates = answer.headers.get("x-firsthop-alternates")?.split(", ") ?? [];
    return answer.text();
  }

  // The other end closes what it means to end, unless its site is about to go.
  async #closed(line) {
    const isMeant = !this.#drains && (await this.#isThere());
    if (line !== this.#line) return;
    if (isMeant) this.end("the site ended the call");
    else this.#goOn(line);
  }

  // The conversation outlives its connection: its own site keeps the place of the call for a while,
  // and any site goes on with its session.
  async #goOn(lost) {
    if (lost !== this.#line) return;
    this.#line = null;
    this.#tell("lost");
    const isBack = (await this.#comeBack()) || (await this.#goElsewhere());
    drop(lost); // not before: a line that its client closes is hung up
    if (isBack) this.#tell("back");
    else this.end("the connection was lost");
  }

  async #comeBack() {
    const until = performance.now() + COME_BACK_LIMIT_MS;
    while (!this.#ended && !this.#drains && performance.now() < until && (await this.#isThere())) {
      try {
        await this.#connect(this.#place);
        return true;
      } catch ({ status, code }) {
        if ((status >= 400 && status < 500) || code === "site_draining") return false;
        await new Promise((resolve) => setTimeout(resolve, COME_BACK_PAUSE_MS));
      }
    }
    return false;
  }

  async #goElsewhere() {
    const session = this.#session;
    for (const site of session ? [...this.#alternates, this.#site] : []) {
      if (this.#ended) return false;
      try {
        await this.#connect(site + CALLS, session);
        return true;
      } catch {
        // The next one may.
      }
    }
    return false;
  }

  async #isThere() {
    const signal = AbortSignal.timeout(PROBE_LIMIT_MS);
    const probe = { mode: "no-cors", cache: "no-store", signal };
    return fetch(`${this.#site}/healthz`, probe).then(() => true, () => false);
  }

  // Before the connection ends: with it the site forgets the call.
  async #hangUp() {
    if (!this.#place) return;
    const request = { method: "DELETE", headers: this.#credentials, keepalive: true };
    await fetch(this.#place, request).catch(() => {});
  }

  get #credentials() {
    return this.#key ? { authorization: `Bearer ${this.#key}` } : {};
  }

  #heard(event) {
    if (event.type === "error") this.#drains ||= event.error.code === "site_draining";
    this.#tell("event", event);
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

function isOpen(channel) {
  const opened = new Promise((resolve, reject) => {
    channel.onopen = resolve;
    setTimeout(() => reject(new CallRefused("no connection within 10 s; is UDP to the site blocked?")), CONNECT_LIMIT_MS);
  });
  opened.catch(() => {}); // it is waited for later
  return opened;
}

function drop(line) {
  if (!line) return;
  line.channel.onmessage = line.channel.onclose = line.peer.onconnectionstatechange = null;
  line.peer.close();
}

async function answerTo(url, request) {
  const answer = await fetch(url, request).catch(() => {
    throw new CallRefused("the site does not answer");
  });
  if (!answer.ok) throw refusal(await answer.text(), answer.status);
  return answer;
}

function refusal(body, status) {
  try {
    const { message, code } = JSON.parse(body).error;
    return new CallRefused(message, status, code);
  } catch {
    return new CallRefused("it did not say why", status);
  }
}
