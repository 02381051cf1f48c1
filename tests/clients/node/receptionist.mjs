// The agent of the drivers: it has one tool.
import { RealtimeAgent, tool } from '@openai/agents-realtime';
import { z } from 'zod';

/** The cities whose weather was asked for. */
export const cities = [];

const weather = tool({
  name: 'get_weather',
  description: 'The weather in a city',
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    cities.push(city);
    return 'blue sky';
  },
});

export const agent = new RealtimeAgent({ name: 'Receptionist', instructions: 'Be brief.', tools: [weather] });
