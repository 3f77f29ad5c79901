// The site's events. By fetch, because EventSource cannot carry a key.

const SILENT_MS = 5_000;
const RETRY_MS = 1_000;

export class Feed extends EventTarget {
  #key;
  #reading = null;

  constructor(key) {
    super();
    this.#key = key;
  }

  // Reads on until `close`; "event" with every event, "lost" with a reason when there are none.
  async open() {
    while (this.#key !== null) {
      this.#reading = new AbortController();
      let silence = 0;
      const alarm = () => {
        clearTimeout(silence);
        silence = setTimeout(() => this.#reading.abort(), SILENT_MS);
      };
      try {
        alarm();
        await this.#read(alarm);
        this.#tell("lost", "the site ended the stream");
      } catch (error) {
        if (this.#key === null) return;
        if (error instanceof Refused) {
          this.#tell("refused", error.message);
          if (error.status === 401) return;
        } else {
          this.#tell(
            "lost",
            error.name === "AbortError" ? "the site is silent" : "the site does not answer",
          );
        }
      } finally {
        clearTimeout(silence);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  close() {
    this.#key = null;
    this.#reading?.abort();
  }

  // A JSON document of the site. Throws Refused.
  async ask(path) {
    return (await this.#get(path)).json();
  }

  async #get(path, signal) {
    const headers = this.#key ? { authorization: `Bearer ${this.#key}` } : {};
    const answer = await fetch(path, { headers, signal, cache: "no-store" });
    if (!answer.ok) throw new Refused(await reason(answer), answer.status);
    return answer;
  }

  async #read(alarm) {
    const answer = await this.#get("/v1/grid/events", this.#reading.signal);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alarm();
      const events = (text + value).split("\n\n");
      text = events.pop();
      // Of several that came at once the newest glance counts, but the turns of all of them.
      const told = events.map((event) => JSON.parse(event.slice("data: ".length)));
      if (told.length) {
        this.#tell("event", {
          ...told.at(-1),
          turns: told.reverse().flatMap((event) => event.turns),
        });
      }
    }
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function reason(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `the site answers ${answer.status}`;
  }
}
