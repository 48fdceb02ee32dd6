// A program that closes its client of Steward while Temporal is being asked, and cannot be reached any more.
import { connect, createServer } from 'node:net';
import { StewardClient } from '../../dist/src/client/index.js';

const [coordinatorUrl, temporal] = process.argv.slice(2);
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
const client = await StewardClient.connect({
  coordinatorUrl,
  temporal: { address, plain: true },
  actor: 'tester',
});
await client.operations.list();
relay.close();
const lost = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
for (const socket of sockets) socket.destroy();
await lost;
const answer = client.operations.list().then(
  () => 'listed',
  (error) => error.code,
);
// The question is on its way.
await new Promise((resolve) => {
  setImmediate(resolve);
});
await client.close();
console.log(await answer);
