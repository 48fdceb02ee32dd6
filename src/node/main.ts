import { WrongTransport } from '../model/transport.js';
import { runProcess } from '../process.js';
import { startNode } from './node.js';
import { type NodeOptions, readOptions, USAGE, UsageError } from './options.js';

/** All that matters is in the ledger: what cannot stop in time goes on at the next start. */
const STOP_LIMIT_MS = 4500;

function readCommandLine(): NodeOptions {
  try {
    const options = readOptions(process.argv.slice(2));
    if (options !== 'help') return options;
    process.stdout.write(`${USAGE}\n`);
    process.exit(0);
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof WrongTransport)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  }
}

const options = readCommandLine();
await runProcess(`node ${options.id}`, async (log, stopping) => {
  const node = await startNode(options, log);
  const { nodeId, ledgerId } = node.identity;
  const ended = stopping.then(() => {
    log.info('stopping');
    setTimeout(() => process.exit(0), STOP_LIMIT_MS).unref();
    return node.stop();
  });
  return { ready: { nodeId, ledgerId, url: node.url }, ended };
});
