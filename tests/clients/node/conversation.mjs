// What every client of the `openai` package talks about: a greeting, a spoken turn, a tool call, an interruption.
import { fail, frames, task, tell } from './story.mjs';

/** Hold the conversation over a realtime connection that has just been made, and close it. */
export async function converse(rt) {
  let turn, waiting, onAudio;

  /** The next response, when it is done. */
  function response() {
    turn = { audio: [], transcript: '', calls: [] };
    return new Promise((resolve) => (waiting = resolve));
  }

  /** The next event of this type. */
  function next(type) {
    return new Promise((resolve) => {
      const listener = (event) => {
        rt.off(type, listener);
        resolve(event);
      };
      rt.on(type, listener);
    });
  }

  function speak(phrase) {
    for (const frame of frames(phrase)) {
      rt.send({ type: 'input_audio_buffer.append', audio: frame.toString('base64') });
    }
  }

  rt.on('error', fail);
  rt.on('event', (event) => {
    const kind = event.type.replace('output_audio', 'audio');
    if (kind === 'response.audio.delta') {
      turn.audio.push(event.delta);
      onAudio?.(event);
    } else if (kind === 'response.audio_transcript.done') {
      turn.transcript = event.transcript;
    } else if (kind === 'response.function_call_arguments.done') {
      turn.calls.push({ id: event.call_id, arguments: event.arguments });
    } else if (kind === 'response.done') {
      turn.status = event.response.status;
      turn.reason = event.response.status_details?.reason;
      waiting(turn);
    }
  });

  const created = await next('session.created');
  tell('created', { model: created.session.model });
  rt.send({ type: 'session.update', session: task.session });
  await next('session.updated');

  let answer = response();
  rt.send({ type: 'response.create' });
  tell('greeting', await answer);

  answer = response();
  speak('what_time');
  tell('turn', await answer);

  answer = response();
  speak('weather');
  const called = await answer;
  tell('call', called);
  answer = response();
  const output = { type: 'function_call_output', call_id: called.calls[0].id, output: '{"sky":"blue"}' };
  rt.send({ type: 'conversation.item.create', item: output });
  rt.send({ type: 'response.create' });
  tell('told', await answer);

  answer = response();
  let item;
  onAudio = (event) => {
    onAudio = undefined;
    item = event.item_id;
    speak('stop_please');
  };
  speak('long_story');
  tell('interruption', await answer);
  const truncated = next('conversation.item.truncated');
  rt.send({ type: 'conversation.item.truncate', item_id: item, content_index: 0, audio_end_ms: 0 });
  tell('truncated', { same: (await truncated).item_id === item });
  rt.close();
}
