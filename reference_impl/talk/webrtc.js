// Talk over WebRTC: the browser speaks with OpenAI itself. The client secret says what the session is; the call adds
// nothing to it, and nothing that could contradict it.

const GATHERING = 2000; // ms to wait for ICE candidates, for there is no trickling
const BENIGN = new Set(["response_cancel_not_active", "conversation_already_has_active_response"]);

export async function open(session, { microphone, voice, post, on }) {
  const peer = new RTCPeerConnection();
  const channel = peer.createDataChannel("oai-events");
  const context = new AudioContext();
  const send = (event) => channel.readyState === "open" && channel.send(JSON.stringify(event));
  let over = false;
  let active = ""; // id of the response in progress
  let wanted = false; // a response is to be asked for when that one is done

  peer.addTrack(microphone.getAudioTracks()[0], microphone);
  peer.ontrack = ({ streams: [stream] }) => {
    voice.srcObject = stream;
    on.levels(analyser(context, microphone), analyser(context, stream));
  };
  peer.onconnectionstatechange = () => {
    if (peer.connectionState === "failed") lost("The connection to OpenAI could not be made, or was lost.");
  };
  channel.onclose = () => finish("closed by OpenAI");
  channel.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    handlers[event.type]?.(event);
  };

  const handlers = {
    "session.created": () => on.live(),
    "response.created": ({ response }) => { active = response.id; },
    "response.done": ({ response }) => responded(response),
    "response.output_audio_transcript.delta": ({ item_id, delta }) => on.transcript("assistant", item_id, delta, false),
    "response.output_audio_transcript.done": ({ item_id, transcript }) => on.transcript("assistant", item_id, transcript, true),
    "conversation.item.input_audio_transcription.delta": ({ item_id, delta }) => on.transcript("user", item_id, delta, false),
    "conversation.item.input_audio_transcription.completed": ({ item_id, transcript }) => on.transcript("user", item_id, transcript, true),
    "output_audio_buffer.started": () => on.speaking(true),
    "output_audio_buffer.stopped": () => on.speaking(false),
    "output_audio_buffer.cleared": () => on.speaking(false),
    error: async (event) => {
      if (event.error?.code === "conversation_already_has_active_response") wanted = true;
      if (!BENIGN.has(event.error?.code)) await explain(0, JSON.stringify(event));
    },
  };

  async function responded(response) {
    active = "";
    if (response.status === "failed") await explain(0, JSON.stringify({ type: "response.done", response }));
    const calls = (response.output ?? []).filter((item) => item.type === "function_call" && item.status === "completed");
    for (const call of calls) {
      on.tool(call.name, "called");
      const output = await outputOf(call);
      send({ type: "conversation.item.create", item: { type: "function_call_output", call_id: call.call_id, output } });
      on.tool(call.name, "done");
    }
    if (calls.length || wanted) request();
  }

  // What a function gives; the model is told, and so is the person, when it could not be run.
  async function outputOf(call) {
    try {
      return (await post("tool", { name: call.name, arguments: call.arguments })).output;
    } catch (error) {
      on.problem(error.error ?? { source: "browser", code: error.name, message: error.message });
      return JSON.stringify({ error: "the tool could not be run" });
    }
  }

  // There can be only one response at a time.
  function request() {
    wanted = Boolean(active);
    if (!wanted) send({ type: "response.create" });
  }

  function hush() {
    if (active) send({ type: "response.cancel" });
    send({ type: "output_audio_buffer.clear" });
  }

  async function explain(status, body) {
    const raw = { source: "openai", status, message: body };
    const explained = await post("explain", { status, body }).catch(() => ({ error: raw }));
    on.problem(explained.error);
  }

  function lost(message) {
    if (over) return;
    on.problem({
      source: "browser",
      code: "webrtc_failed",
      message,
      hint: "A firewall may be in the way of WebRTC: choose the relay, which needs nothing but this page's connection.",
    });
    finish("lost");
  }

  function finish(reason) {
    if (over) return;
    over = true;
    peer.close();
    voice.srcObject = null;
    context.close();
    on.ended(reason);
  }

  async function call() {
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    const answer = await fetch(session.calls_url, {
      method: "POST",
      headers: { Authorization: `Bearer ${session.client_secret}`, "Content-Type": "application/sdp" },
      body: peer.localDescription.sdp,
    });
    const body = await answer.text();
    if (answer.ok) return peer.setRemoteDescription({ type: "answer", sdp: body });
    await explain(answer.status, body);
    finish("refused");
  }

  await call().catch((error) => lost(`There is no connection to OpenAI: ${error.message}`));
  return {
    say(text) {
      hush();
      const content = [{ type: "input_text", text }];
      send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
      request();
    },
    hush,
    close: () => finish("end"),
  };
}

function gathered(peer) {
  return new Promise((resolve) => {
    const look = () => peer.iceGatheringState === "complete" && resolve();
    peer.onicegatheringstatechange = look;
    setTimeout(resolve, GATHERING);
    look();
  });
}

function analyser(context, stream) {
  const made = new AnalyserNode(context, { fftSize: 512 });
  context.createMediaStreamSource(stream).connect(made);
  return made;
}
