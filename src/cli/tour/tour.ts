import type { RunningStack } from '../../local/commands.js';
import { connectStack } from '../connection.js';
import { details } from '../render.js';
import { colors } from '../terminal.js';
import { healTour } from './heals.js';
import { jobTour } from './jobs.js';
import { optimizerTour, startOptimizers } from './optimizers.js';
import type { Part } from './part.js';
import { hasRegionGroups, regionTour } from './regions.js';

/**
 * The first thing that a fresh stack does: every system works on real input, something of it is broken, and the page says what
 * happened. On a stack that was toured before nothing is broken.
 */
export async function tour(stack: RunningStack, say: (line: string) => void): Promise<void> {
  const client = await connectStack(stack.addresses);
  try {
    const tools = { client, stack, say };
    const fresh = !(await hasRegionGroups(client));
    const regions = await regionTour(tools);
    await startOptimizers(tools);
    const heals = await healTour(tools, fresh);
    const [optimizers, jobs] = await Promise.all([optimizerTour(tools, fresh), jobTour(tools, fresh)]);
    const parts = [regions, heals, optimizers, ...jobs];
    for (const line of page(parts, fresh).split('\n')) say(line);
  } finally {
    await client.close();
  }
}

function page(parts: readonly Part[], fresh: boolean): string {
  return [
    '',
    fresh ? 'What happened, system by system:' : 'What is there, system by system:',
    ...parts.flatMap(({ title, happened, state, look }) => [
      '',
      colors.bold(title),
      details(happened.map((line) => ['-', line])),
      ...(state === undefined ? [] : [state]),
      `look: ${look.map((command) => `npx ${command}`).join(', ')}`,
    ]),
    '',
    'Try next, in another terminal: README.md, "Five minutes"; or',
    ...NEXT.map((command) => `  npx ${command}`),
    '',
  ].join('\n');
}

const NEXT = [
  'steward top',
  'steward node kill node-2 --restart-after 10s',
  'steward job submit examples/jobs/clicks.yaml',
  'steward doctor',
  'steward --help',
];
