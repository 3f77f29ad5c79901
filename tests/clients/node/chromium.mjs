// Chromium with a microphone that speaks a WAV file once.
import { chromium } from "playwright-core";

const FLAGS = [
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-gpu",
  "--allow-loopback-in-peer-connection", // loopback may be the only way there is
];

// `microphone`: a WAV file, or "" for one that the browser refuses.
export async function openChromium(executablePath, microphone, options = {}) {
  const args = microphone ? [...FLAGS, `--use-file-for-fake-audio-capture=${microphone}%noloop`] : FLAGS.slice(1);
  const browser = await chromium.launch({ executablePath, args, chromiumSandbox: false });
  const context = await browser.newContext({ viewport: { width: 420, height: 900 }, ...options });
  if (!microphone) await context.grantPermissions([]);
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  return { browser, page, faults };
}
