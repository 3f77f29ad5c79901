// One call: WebRTC to this site and the OpenAI Realtime events on its data channel.

const CONNECT_LIMIT_MS = 10_000;
const COME_BACK_LIMIT_MS = 25_000; // the site keeps a lost call for 30 s, unless told otherwise
const COME_BACK_PAUSE_MS = 500;

export class CallRefused extends Error {
  // `status` is the HTTP status, or 0 where there was none; `code` the API's, where there is one.
  constructor(message, status = 0, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// Tells "event" (the site's), "sound" (the agent's, as a MediaStream, anew with each connection),
// "lost" and "back" while it comes back by itself, and "ended".
export class Call extends EventTarget {
  #microphone;
  #key;
  #peer = null;
  #channel = null;
  #place = null;
  #ended = false;

  // `microphone`: a MediaStream, or null for a call in which one types.
  constructor(microphone, key) {
    super();
    this.#microphone = microphone;
    this.#key = key;
  }

  // Resolves when events can be sent. Throws CallRefused with the site's own words.
  async connect() {
    this.#drop();
    const peer = (this.#peer = new RTCPeerConnection());
    this.#channel = peer.createDataChannel("oai-events");
    peer.ontrack = ({ streams, track }) => this.#tell("sound", streams[0] ?? new MediaStream([track]));
    const track = this.#microphone?.getAudioTracks()[0];
    if (track) peer.addTrack(track, this.#microphone);
    else peer.addTransceiver("audio", { direction: "recvonly" });
    this.#channel.onmessage = (message) => this.#tell("event", JSON.parse(message.data));
    const opened = new Promise((resolve, reject) => {
      this.#channel.onopen = resolve;
      setTimeout(() => reject(new CallRefused("no connection within 10 s; is UDP to the site blocked?")), CONNECT_LIMIT_MS);
    });
    opened.catch(() => {});
    await peer.setLocalDescription();
    // A model without tools of its own is spoken to without.
    const { text, place } = await this.#offer({ "x-firsthop-tools": "server" }).catch((refused) => {
      if (refused.code !== "unsupported_tools") throw refused;
      return this.#offer({});
    });
    this.#place = place;
    await peer.setRemoteDescription({ type: "answer", sdp: text });
    await opened;
    this.#channel.onclose = () => this.end("the site ended the call");
    peer.onconnectionstatechange = () => {
      if (["disconnected", "failed"].includes(peer.connectionState)) this.#comeBack();
    };
  }

  send(event) {
    if (this.#channel?.readyState === "open") this.#channel.send(JSON.stringify(event));
  }

  end(reason = "") {
    if (this.#ended) return;
    this.#ended = true;
    this.#hangUp().finally(() => this.#drop());
    this.#tell("ended", reason);
  }

  // Over a new connection: the old one's other end may be gone, the conversation is not.
  async #comeBack() {
    this.#tell("lost");
    const until = performance.now() + COME_BACK_LIMIT_MS;
    while (!this.#ended) {
      try {
        await this.connect();
        return this.#tell("back");
      } catch (refused) {
        const isOver = refused.status >= 400 && refused.status < 500;
        if (isOver || performance.now() > until) return this.end("the connection failed");
        await new Promise((resolve) => setTimeout(resolve, COME_BACK_PAUSE_MS));
      }
    }
    this.#drop(); // it was ended meanwhile
  }

  #drop() {
    if (this.#channel) this.#channel.onclose = null;
    if (this.#peer) this.#peer.onconnectionstatechange = null;
    this.#peer?.close();
  }

  async #offer(wishes) {
    const headers = { "content-type": "application/sdp", ...wishes };
    if (this.#key) headers.authorization = `Bearer ${this.#key}`;
    const answer = await fetch(this.#place ?? "/v1/realtime/calls?notice=true", {
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

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
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
