// A program that closes its connection to Temporal while that is being asked, and cannot be reached any more; it has the
// connection as a client of Steward, or as a coordinator.
import { connect, createServer } from 'node:net';
import { StewardClient } from '../../dist/src/client/index.js';
import { LazyClient } from '../../dist/src/temporal/lazy-client.js';
import { Payloads } from '../../dist/src/temporal/payloads.js';

const [who, coordinatorUrl, temporal] = process.argv.slice(2);
const [host, port] = temporal.split(':');
const sockets = [];
const relay = createServer((socket) => {
  const onward = connect(Number(port), host);
  for (const one of [socket, onward]) one.on('error', () => {});
  sockets.push(socket, onward);
  socket.pipe(onward).pipe(socket);
});
await new Promise((resolve) => {
  relay.listen(0, '127.0.0.1', resolve);
});
const address = `127.0.0.1:${relay.address().port}`;
const { ask, close } = who === 'client' ? await asClient() : asCoordinator();
await ask();
relay.close();
const lost = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
for (const socket of sockets) socket.destroy();
await lost;
const answer = ask().then(
  () => 'answered',
  (error) => error.code,
);
// The question is on its way.
await new Promise((resolve) => {
  setImmediate(resolve);
});
await close();
console.log(await answer);

async function asClient() {
  const client = await StewardClient.connect({
    coordinatorUrl,
    temporal: { address, plain: true },
    actor: 'tester',
  });
  return { ask: () => client.operations.list(), close: () => client.close() };
}

function asCoordinator() {
  process.env.TEMPORAL_ADDRESS = address;
  const temporal = new LazyClient(new Payloads({}));
  const ask = () => temporal.ask(10_000, ({ workflowService }) => workflowService.getSystemInfo({}));
  return { ask, close: () => temporal.close() };
}
