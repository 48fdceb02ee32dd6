import { runSteward } from './run.js';
import { tracedCommand } from './traced-command.js';

/** The `steward` command. */

// Whoever reads stdout may have heard enough (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

await tracedCommand(() => runSteward(process.argv.slice(2)));
