// Chromium, and a person in front of it who speaks when it is time to, and again if need be.
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const FLAGS = [
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-gpu",
  "--allow-loopback-in-peer-connection", // loopback may be the only way there is
];
const NUM_TRIES = 5;
const ANSWER_LIMIT_MS = 12_000;

// In the page: `say(number)` says a sentence to its end, and `told` are the types of the events that
// came. The browser's microphone is asked for as ever, but what the page gets is silent otherwise.
function sitDown(sentences) {
  let context = null;
  let mouth = null;
  const ask = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
  if (ask) {
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const own = await ask(wanted);
      own.getTracks().forEach((track) => track.stop());
      context = new AudioContext();
      mouth = context.createMediaStreamDestination();
      return mouth.stream;
    };
  }
  window.say = async (number) => {
    const bytes = Uint8Array.from(atob(sentences[number]), (one) => one.charCodeAt(0));
    const source = context.createBufferSource();
    source.buffer = await context.decodeAudioData(bytes.buffer);
    source.connect(mouth);
    const ended = new Promise((resolve) => source.addEventListener("ended", resolve));
    source.start();
    await ended;
  };
  window.told = [];
  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (...given) {
    const channel = create.apply(this, given);
    channel.addEventListener("message", ({ data }) => window.told.push(JSON.parse(data).type));
    return channel;
  };
}

// `sentences`: a folder of WAV files, said by their place in it; or "" for a browser that refuses
// pages its microphone.
export async function openChromium(executablePath, sentences, options = {}) {
  const args = sentences ? FLAGS : FLAGS.slice(1);
  const browser = await chromium.launch({ executablePath, args, chromiumSandbox: false });
  const context = await browser.newContext({ viewport: { width: 420, height: 900 }, ...options });
  if (!sentences) await context.grantPermissions([]);
  const page = await context.newPage();
  if (sentences) {
    const files = (await readdir(sentences)).sort();
    await page.addInitScript(sitDown, await Promise.all(files.map((name) => readFile(join(sentences, name), "base64"))));
  }
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  return { browser, page, faults };
}

export const say = (page, number) => page.evaluate((one) => window.say(one), number);

// Whether more events of a type than `before` have come, or do soon.
export async function isTold(page, type, before = 0) {
  try {
    const count = ([one, least]) => window.told.filter((told) => told === one).length > least;
    await page.waitForFunction(count, [type, before], { timeout: ANSWER_LIMIT_MS });
    return true;
  } catch (error) {
    if (error.name === "TimeoutError") return false;
    throw error;
  }
}

export const numTold = (page, type) => page.evaluate((one) => window.told.filter((told) => told === one).length, type);

// People who are not understood say it again; a busy machine's browser drops sound.
export async function untilUnderstood(isUnderstood) {
  for (let tried = 0; tried < NUM_TRIES; tried++) if (await isUnderstood()) return;
  throw new Error(`not understood ${NUM_TRIES} times`);
}
