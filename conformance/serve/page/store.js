// What the page knows, kept up to date by the stream of events. Parts of the page listen for what concerns them.

export const store = new EventTarget();

export const known = {
  rows: [],
  calls: new Map(),
  levels: new Map(), // by sid: { person: [], gateway: [], duration }
  state: { gateway: {}, answering: {}, knobs: {}, faults: [], sessions: [], connections: {} },
  vendors: null,
  call: null, // sid of the selected call
  fold: true,
};

export function tell(name, detail) {
  store.dispatchEvent(new CustomEvent(name, { detail }));
}

export function on(name, listener) {
  store.addEventListener(name, (event) => listener(event.detail));
}

/** The name of the call that a row belongs to, or an empty text. */
export function callOf(row) {
  const name = (row.connection ?? "").split("/", 1)[0];
  return name.startsWith("call") ? name : (known.state.connections[row.connection] ?? "");
}

export function selectedCall() {
  return known.calls.get(known.call) ?? null;
}

export function select(sid) {
  if (known.call === sid) return;
  known.call = sid;
  tell("selected", sid);
}

function put(row) {
  row.count ??= 1;
  row.bytes ??= 0;
  row.connection ??= "";
  known.rows[row.number] = row;
}

function forget() {
  known.rows = [];
  known.calls.clear();
  known.levels.clear();
  known.call = null;
  tell("reset");
}

function keep(piece) {
  const levels = known.levels.get(piece.sid) ?? { person: [], gateway: [], duration: 0 };
  known.levels.set(piece.sid, levels);
  levels.duration = piece.duration_ms;
  for (const way of ["person", "gateway"]) {
    levels[way].length = Math.min(levels[way].length, piece[way].from);
    for (const level of piece[way].levels) levels[way].push(level);
  }
}

let source = null;

export function connect() {
  source?.close();
  forget();
  source = new EventSource(`/events?fold=${known.fold}`);
  const told = (name, act) => source.addEventListener(name, (event) => act(JSON.parse(event.data)));
  // The browser connects again by itself, and is told everything again.
  source.addEventListener("open", () => {
    forget();
    tell("live", "live");
  });
  source.addEventListener("error", () => tell("live", "lost"));
  told("reset", forget);
  told("rows", (rows) => {
    rows.forEach(put);
    tell("rows", rows);
  });
  told("calls", (calls) => {
    const before = known.calls.size;
    for (const call of calls) {
      const fresh = !known.calls.has(call.sid);
      known.calls.set(call.sid, call);
      const present = selectedCall();
      if (fresh && (present === null || present.ended_at !== null || present.sid === call.sid)) known.call = call.sid;
    }
    tell("calls", calls);
    if (known.calls.size !== before) tell("selected", known.call);
  });
  told("sound", (pieces) => {
    pieces.forEach(keep);
    tell("sound", pieces);
  });
  told("state", (state) => {
    known.state = state;
    tell("state", state);
  });
}
