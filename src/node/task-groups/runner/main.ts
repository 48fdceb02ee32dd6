import { messageOf } from '../../../message-of.js';
import { Pipeline } from './pipeline.js';
import type { FromRunner, ToRunner } from './protocol.js';

/**
 * A process that runs the pipeline of one task group at a time for the node that forked it. It lives no longer than the
 * node: when that is gone, so is the channel, and what is under way is worth nothing.
 */
let pipeline: Pipeline | undefined;

function tell(message: FromRunner): void {
  process.send!(message);
}

async function run(spec: Extract<ToRunner, { type: 'run' }>['spec']): Promise<void> {
  pipeline = new Pipeline(spec, tell);
  let error: string | undefined;
  try {
    await pipeline.run();
  } catch (thrown) {
    error = messageOf(thrown);
  }
  pipeline = undefined;
  tell({ type: 'ended', ...(error === undefined ? {} : { error }) });
}

process.on('message', (message: ToRunner) => {
  switch (message.type) {
    case 'run':
      void run(message.spec);
      break;
    case 'committed':
      pipeline?.committed();
      break;
    case 'savepoint':
      pipeline?.savepoint();
      break;
    default:
      throw new Error(`unknown message ${JSON.stringify(message satisfies never)}`);
  }
});
// At once, whatever DuckDB's threads are at: an orderly exit would wait for them.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
// The node decides when its runners end, also when the terminal interrupts all of its processes.
process.on('SIGINT', () => undefined);
