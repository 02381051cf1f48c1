// The page. What state it is in is told by `data-state` of the body: idle, connecting, live, ended, error.

import { open as openRelay } from "./relay.js";
import { open as openWebRtc } from "./webrtc.js";

const OPEN = { webrtc: openWebRtc, relay: openRelay };
const TITLES = {
  openai: "OpenAI reports a problem",
  azure: "Azure reports a problem",
  entra: "Microsoft Entra reports a problem",
  gateway: "The gateway reports a problem",
  browser: "Something is in the way",
};
const $ = (id) => document.getElementById(id);

let token = tokenOf(location.hash) || sessionStorage.getItem("talk-token") || "";
let attempt = null; // what goes on between a press on Talk and the end of it

class Refused extends Error {
  constructor(error) {
    super(error.message);
    this.error = error;
  }
}

// Conversations

async function start() {
  const mine = (attempt = { session: null, microphone: null, failed: false });
  const current = () => attempt === mine;
  $("problem").hidden = true;
  $("transcript").replaceChildren();
  become("connecting", "Asking for the microphone …");
  try {
    mine.microphone = await listen();
    if (!current()) return release(mine);
    become("connecting", "Connecting …");
    const transport = document.querySelector("[name=transport]:checked").value;
    const about = await post("session", { transport });
    if (!current()) return release(mine);
    $("model").textContent = `${about.model}, voice ${about.voice}`;
    $("model").title = about.reason ?? "";
    const on = {
      live: () => become("live", "Listening"),
      speaking(is) {
        if (document.body.dataset.state === "live") become("live", is ? "The model is speaking" : "Listening");
      },
      levels: (microphone, model) => (mine.meters = [microphone, model]),
      transcript: write,
      tool: noteTool,
      problem: (error) => {
        mine.failed = true;
        showProblem(error);
      },
      ended: (reason) => end(mine, reason),
    };
    const whileCurrent = ([name, does]) => [name, (...all) => current() && does(...all)];
    const guarded = Object.fromEntries(Object.entries(on).map(whileCurrent));
    const session = await OPEN[about.transport](about, { microphone: mine.microphone, voice: $("voice"), post, on: guarded });
    if (current()) mine.session = session;
    else session?.close();
  } catch (error) {
    if (!current()) return release(mine);
    mine.failed = true;
    showProblem(error instanceof Refused ? error.error : unexpected(error));
    end(mine, "refused");
    if (error.error?.code === "talk_token_wrong") askForToken(token ? "That token was wrong." : "");
  }
}

function end(mine, reason) {
  if (attempt !== mine) return;
  attempt = null;
  release(mine);
  const said = { end: "Over. Talk again?", silent: "Over: nothing was heard.", shutdown: "The gateway is being stopped." };
  if (mine.failed && reason !== "end") become("error", "That did not work");
  else become("ended", said[reason] ?? `Over: ${reason}.`);
}

function hangUp() {
  const mine = attempt;
  if (mine.session) mine.session.close();
  else end(mine, "end");
}

function release(mine) {
  mine.microphone?.getTracks().forEach((track) => track.stop());
}

async function listen() {
  if (!navigator.mediaDevices) {
    const hint = "Open it over https, or at 127.0.0.1.";
    throw new Refused(problem("microphone_unavailable", "This page may not use a microphone.", hint));
  }
  try {
    const wishes = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    return await navigator.mediaDevices.getUserMedia({ audio: wishes });
  } catch (error) {
    const message = `The microphone: ${error.message || error.name}`;
    throw new Refused(problem("microphone_refused", message, "Plug one in, and let this page use it."));
  }
}

async function post(what, body) {
  let response;
  try {
    response = await fetch(`talk/${what}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Refused(problem("gateway_unreachable", "The gateway does not answer.", "Look whether it is running."));
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw new Refused(answer?.error ?? problem("gateway_failed", `The gateway answered ${response.status}.`, "Look into its log."));
}

function problem(code, message, hint) {
  return { source: "browser", code, message, hint };
}

function unexpected(error) {
  console.error(error);
  return problem(error.name, error.message, "Start again; the browser's console tells more.");
}

// What is seen

function become(state, text) {
  document.body.dataset.state = state;
  const busy = state === "connecting" || state === "live";
  $("state").textContent = text;
  $("talk-label").textContent = busy ? "Stop" : state === "idle" ? "Talk" : "Talk again";
  $("transports").disabled = busy;
  for (const id of ["text", "send", "hush"]) $(id).disabled = state !== "live";
}

function showProblem(error) {
  $("problem-title").textContent = TITLES[error.source] ?? "That did not work";
  $("problem-message").textContent = error.message;
  $("problem-hint").textContent = error.hint ?? "";
  const facts = { code: error.code, cause: error.cause, status: error.status, type: error.type, parameter: error.param, request: error.request_id };
  $("problem-facts").replaceChildren(
    ...Object.entries(facts).filter(([, value]) => value).map(([name, value]) => {
      const row = document.createElement("div");
      row.append(filled("dt", name), filled("dd", value));
      row.dataset.fact = name;
      return row;
    }),
  );
  $("problem").hidden = false;
}

// What was said, by item: a piece is added, a final text takes the place of all pieces.
function write(role, id, text, final) {
  let entry = $("transcript").querySelector(`[data-item="${CSS.escape(id)}"]`);
  if (!entry) {
    if (!text) return;
    entry = said(role, id);
  }
  entry.textContent = final ? text : entry.textContent + text;
  entry.dataset.final = final;
  scroll();
}

function said(role, id) {
  const entry = filled("li", "");
  Object.assign(entry.dataset, { role, item: id, who: role === "user" ? "You" : "Model", final: false });
  const next = role === "user" && !id.startsWith("typed-") ? answerUnderWay() : null;
  $("transcript").insertBefore(entry, next);
  return entry;
}

// What the person said is often written down after the answer to it has begun: the first entry of that answer.
function answerUnderWay() {
  const entries = [...$("transcript").children];
  const roleAt = (i) => entries[i]?.dataset.role;
  let i = entries.length;
  if (roleAt(i - 1) === "assistant") i--;
  while (roleAt(i - 1) === "tool") i--;
  return roleAt(i - 1) === "user" ? null : (entries[i] ?? null);
}

function noteTool(name, status) {
  if (status === "called") {
    const entry = filled("li", `${name} …`);
    Object.assign(entry.dataset, { role: "tool", tool: name, status });
    $("transcript").append(entry);
  } else {
    const entry = [...$("transcript").querySelectorAll(`[data-tool="${CSS.escape(name)}"]`)].at(-1);
    if (!entry) return;
    entry.textContent = `${name} ✓`;
    entry.dataset.status = status;
  }
  scroll();
}

function filled(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function scroll() {
  $("log").scrollTop = $("log").scrollHeight;
}

// The levels: RMS, on a scale from -60 dB to -6 dB.
const samples = new Float32Array(512);
const shown = [0, 0];

function level(analyser) {
  if (!analyser || analyser.context.state === "closed") return 0;
  analyser.getFloatTimeDomainData(samples);
  const power = samples.reduce((sum, each) => sum + each * each, 0) / samples.length;
  return Math.max(0, Math.min(1, (10 * Math.log10(power + 1e-9) + 60) / 54));
}

function showLevels() {
  ["microphone", "voice"].forEach((name, i) => {
    const now = level(attempt?.meters?.[i]);
    shown[i] = now > shown[i] ? now : shown[i] * 0.88 + now * 0.12; // up at once, down slowly
    const meter = $(`${name}-level`);
    meter.style.setProperty("--level", shown[i].toFixed(3));
    meter.setAttribute("aria-valuenow", Math.round(shown[i] * 10) * 10);
    $(name === "voice" ? "model-ring" : "microphone-ring").style.setProperty("--level", shown[i].toFixed(3));
  });
  requestAnimationFrame(showLevels);
}

// The token

function tokenOf(hash) {
  return new URLSearchParams(hash.slice(1)).get("token");
}

function keepToken(given) {
  token = given;
  sessionStorage.setItem("talk-token", token);
}

function askForToken(why) {
  $("door-problem").textContent = why;
  if (!$("door").open) $("door").showModal();
}

$("talk").onclick = () => (attempt ? hangUp() : start());
$("say").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !attempt?.session) return;
  write("user", `typed-${performance.now()}`, text, true);
  attempt.session.say(text);
  $("text").value = "";
};
$("hush").onclick = () => attempt?.session?.hush();
$("enter").onsubmit = (event) => {
  event.preventDefault();
  keepToken($("token").value.trim());
  $("token").value = "";
  $("door").close();
  $("problem").hidden = true;
  become("idle", "Ready when you are");
  $("talk").focus();
};
if (token) {
  keepToken(token);
  history.replaceState(null, "", location.pathname + location.search); // not for whoever looks at the address bar
} else {
  askForToken("");
}
showLevels();
