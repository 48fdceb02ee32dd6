import { readCommandLine } from '../command-line.js';
import { runProcess } from '../process.js';
import { startNode } from './node.js';
import { readOptions, USAGE } from './options.js';

/** All that matters is in the ledger: what cannot stop in time goes on at the next start. */
const STOP_LIMIT_MS = 4500;

const options = readCommandLine(readOptions, USAGE);
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
