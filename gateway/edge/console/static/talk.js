// The talk page: buttons, devices and what the site says.

import { Call, CallRefused } from "/static/call.js";
import { LevelMeter } from "/static/level.js";
import { Transcript } from "/static/transcript.js";

const at = (id) => document.getElementById(id);
const transcript = new Transcript(at("transcript"));

let call = null;
let microphone = null;
let meter = null;
let agentMeter = null;

at("start").addEventListener("click", start);
at("stop").addEventListener("click", () => call?.end());
at("mode").addEventListener("change", () => call && configure());
at("speaker").addEventListener("change", useSpeaker);
at("type").addEventListener("submit", sendTyped);
at("settings").addEventListener("submit", (event) => event.preventDefault());
for (const name of ["pointerdown", "pointerup", "pointerleave", "pointercancel"]) {
  at("push").addEventListener(name, () => push(name === "pointerdown"));
}
addEventListener("keydown", (event) => isPushKey(event) && push(true));
addEventListener("keyup", (event) => isPushKey(event) && push(false));
addEventListener("pagehide", () => call?.end());
showDevices();

async function start() {
  trouble("");
  transcript.clear();
  at("start").disabled = true;
  try {
    microphone = await openMicrophone();
    await showDevices();
    state("connecting");
    call = new Call(microphone, at("key").value.trim());
    call.addEventListener("event", ({ detail }) => heard(detail));
    call.addEventListener("sound", ({ detail }) => playAgent(detail));
    call.addEventListener("lost", () => state("connecting again"));
    call.addEventListener("back", () => state("connected"));
    call.addEventListener("ended", ({ detail }) => ended(detail));
    await call.connect();
    configure();
    if (microphone) meter = new LevelMeter(microphone, at("mic-level"));
    showCalling(true);
    state("connected");
  } catch (error) {
    call?.end();
    ended("");
    trouble(error instanceof CallRefused ? sentence(error) : String(error));
  } finally {
    at("start").disabled = false;
  }
}

// The microphone, or null where there is none to be had: one can still type and listen.
async function openMicrophone() {
  const deviceId = at("microphone").value;
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { ...(deviceId && { deviceId }), echoCancellation: true, noiseSuppression: true },
    });
  } catch (error) {
    const words = {
      NotAllowedError: "The browser refused the microphone. Allow it in the address bar to speak",
      NotFoundError: "There is no microphone. Connect one to speak",
    };
    trouble(`${words[error.name] ?? `The microphone cannot be used (${error.name})`}; typing works without.`);
    return null;
  }
}

function configure() {
  const isPush = at("mode").value === "push";
  at("push").hidden = !isPush || !microphone;
  setTalking(!isPush);
  call.send({
    type: "session.update",
    session: {
      type: "realtime",
      output_modalities: ["audio"],
      audio: {
        input: {
          turn_detection: isPush ? null : { type: "semantic_vad" },
          transcription: { model: "default" },
        },
      },
    },
  });
}

function push(isDown) {
  if (!call || at("mode").value !== "push" || isDown === isTalking()) return;
  setTalking(isDown);
  if (isDown) {
    interrupt();
    call.send({ type: "input_audio_buffer.clear" });
  } else {
    call.send({ type: "input_audio_buffer.commit" });
    call.send({ type: "response.create" });
  }
}

// Whatever is being said or about to be.
function interrupt() {
  call.send({ type: "response.cancel" });
  call.send({ type: "output_audio_buffer.clear" });
}

function sendTyped(event) {
  event.preventDefault();
  const text = at("typed").value.trim();
  if (!text || !call) return;
  at("typed").value = "";
  interrupt();
  call.send({
    type: "conversation.item.create",
    item: { type: "message", role: "user", content: [{ type: "input_text", text }] },
  });
  call.send({ type: "response.create" });
}

function heard(event) {
  switch (event.type) {
    case "session.created":
      at("engines").textContent = engines(event.session.firsthop);
      break;
    case "input_audio_buffer.speech_started":
      state("listening");
      break;
    case "input_audio_buffer.speech_stopped":
      state("thinking");
      break;
    case "conversation.item.done": // what another site was told
      if (event.item.role === "assistant") transcript.set(event.item.id, "assistant", typedText(event.item));
      if (event.item.type === "mcp_call") transcript.tool(event.item);
      break;
    case "conversation.item.added":
      if (event.item.role === "user") transcript.set(event.item.id, "caller", typedText(event.item));
      break;
    case "conversation.item.input_audio_transcription.delta":
      transcript.add(event.item_id, "caller", event.delta);
      break;
    case "conversation.item.input_audio_transcription.completed":
      transcript.set(event.item_id, "caller", event.transcript || "(nothing understood)");
      break;
    case "response.output_audio_transcript.delta":
    case "response.output_text.delta":
      transcript.add(event.item_id, "assistant", event.delta);
      break;
    case "response.output_item.done":
      if (event.item.type === "mcp_call") transcript.tool(event.item);
      break;
    case "response.done":
      answered(event);
      break;
    case "output_audio_buffer.started":
      state("speaking");
      break;
    case "output_audio_buffer.stopped":
    case "output_audio_buffer.cleared":
      state("connected");
      break;
    case "conversation.item.truncated": // the site knows how much of it was heard
      transcript.cut(event.item_id);
      call.send({ type: "conversation.item.retrieve", item_id: event.item_id });
      break;
    case "conversation.item.retrieved":
      transcript.set(event.item.id, "assistant", typedText(event.item));
      break;
    case "error":
      if (event.error.code !== "response_cancel_not_active") trouble(event.error.message);
      break;
  }
}

function answered({ response }) {
  if (response.status === "failed") trouble(response.status_details?.error?.message ?? "The answer failed.");
  const said = response.output.findLast((item) => item.type === "message");
  if (said && response.firsthop) transcript.stages(said.id, response.firsthop);
}

function playAgent(sound) {
  at("agent").srcObject = sound;
  useSpeaker();
  agentMeter?.close();
  agentMeter = new LevelMeter(sound, at("agent-level"));
}

function useSpeaker() {
  const deviceId = at("speaker").value;
  at("agent").setSinkId?.(deviceId).catch(() => trouble("That loudspeaker cannot be used."));
}

function ended(reason) {
  meter?.close();
  agentMeter?.close();
  microphone?.getTracks().forEach((track) => track.stop());
  [call, microphone, meter, agentMeter] = [null, null, null, null];
  showCalling(false);
  state("not connected");
  if (reason) trouble(`The call ended: ${reason}.`);
}

function showCalling(isCalling) {
  at("start").hidden = isCalling;
  at("stop").hidden = !isCalling;
  at("push").hidden = !isCalling || at("mode").value !== "push" || !microphone;
  for (const control of at("type").elements) control.disabled = !isCalling;
}

// Devices have names only once the microphone was allowed.
async function showDevices() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  for (const [id, kind] of [["microphone", "audioinput"], ["speaker", "audiooutput"]]) {
    const named = devices.filter((device) => device.kind === kind && device.deviceId && device.label);
    const options = named.map((device) => new Option(device.label, device.deviceId));
    const chosen = at(id).value;
    at(id).replaceChildren(new Option("the default", ""), ...options);
    at(id).value = named.some((device) => device.deviceId === chosen) ? chosen : "";
  }
}

function sentence(refused) {
  if (refused.status === 401) return "The site asks for a key: enter it under “Devices and mode”.";
  if (refused.code === "lines_busy") return "All lines are busy. Please call again in a moment.";
  return `The site refused the call: ${refused.message}.`;
}

const typedText = (item) => item.content?.map((part) => part.text ?? part.transcript ?? "").join("") ?? "";

function engines({ recogniser, voice }) {
  if (!recogniser) return "";
  return `Heard by ${recogniser.name} (${recogniser.grade}), spoken by ${voice.name}.`;
}

const isPushKey = (event) => event.code === "Space" && event.target === document.body && !event.repeat;
const isTalking = () => microphone?.getAudioTracks()[0]?.enabled ?? false;

function setTalking(isOn) {
  microphone?.getAudioTracks().forEach((track) => (track.enabled = isOn));
  at("push").setAttribute("aria-pressed", String(isOn && at("mode").value === "push"));
}

function state(words) {
  at("state").textContent = words;
}

function trouble(words) {
  at("trouble").textContent = words;
  at("trouble").hidden = !words;
}
