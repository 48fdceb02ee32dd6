// A small process in the place of a real one of the stack. Plain JavaScript: it runs as a process of its own.
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    name: { type: 'string' },
    /** Listens here; else it tells by its ready line that it serves. */
    port: { type: 'string' },
    /** Takes a line `<name> <event>` at start and at an orderly end. */
    journal: { type: 'string' },
    'exit-with-parent': { type: 'boolean' },
    /** Never serves. */
    mute: { type: 'boolean' },
    /** Takes no note of SIGTERM. */
    deaf: { type: 'boolean' },
    /** Ends with code 7 before it serves. */
    broken: { type: 'boolean' },
  },
});

const note = (event) => values.journal && appendFileSync(values.journal, `${values.name} ${event}\n`);
const end = () => {
  if (values.deaf) return note('heard');
  note('ended');
  process.exit(0);
};
process.on('SIGTERM', end);
process.on('SIGINT', end);
if (values['exit-with-parent']) process.stdin.on('end', () => process.exit(0)).resume();
setInterval(() => {}, 60_000);

note('started');
console.error(`${values.name} says hello`);
if (values.broken) {
  console.error('cannot find my purpose');
  process.exit(7);
}
if (values.port !== undefined) createServer().listen(Number(values.port), '127.0.0.1');
else if (!values.mute) console.log(JSON.stringify({ ready: true, name: values.name }));
