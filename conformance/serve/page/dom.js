// Small things that every part of the page uses.

export const $ = (id) => document.getElementById(id);

/** An element with properties, and children that are elements or texts. `class`, `on...`, `data-...` and ARIA as written. */
export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Ask the API. Throws an Error with what the API says is wrong. */
export async function ask(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  const answer = await fetch(path, options);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error ?? `${answer.status} ${answer.statusText}`);
  return told;
}

let fading = 0;

/** Say something at the foot of the page for a while. */
export function toast(text, bad = false) {
  const place = $("toast");
  place.textContent = text;
  place.className = bad ? "shown bad" : "shown";
  clearTimeout(fading);
  fading = setTimeout(() => (place.className = ""), bad ? 7000 : 2200);
}

/** Do something that asks the API; what goes wrong is said on the page. Returns undefined then. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    toast(error.message, true);
    return undefined;
  }
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    toast(`${what} could not be copied: the browser does not allow it here`, true);
  }
}

/** Seconds as 12.345, or 1:02.345 above a minute. */
export function clock(seconds, digits = 3) {
  const minutes = Math.floor(seconds / 60);
  if (!minutes) return seconds.toFixed(digits);
  return `${minutes}:${(seconds - minutes * 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0")}`;
}

export function size(bytes) {
  return bytes < 1000 ? `${bytes} B` : bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export const NAMES = {
  caller: "Caller",
  callee: "Callee",
  twilio: "Twilio",
  browser: "Browser",
  gateway: "Gateway",
  openai: "OpenAI",
  azure: "Azure",
  entra: "Entra",
  operator: "Operator",
};
export const ORDER = Object.keys(NAMES);
export const nameOf = (party) => NAMES[party] ?? party;
