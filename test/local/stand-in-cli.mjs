// `node stand-in-cli.mjs <home> start|detach|stop|status [ports as JSON]`: what the real CLI does, with a stack of stand-ins.
import { fileURLToPath } from 'node:url';
import { localStatus, startLocal, stopLocal } from '../../dist/src/local/commands.js';
import { plan } from './stand-in-plan.mjs';

const [home, command, ports = '{}'] = process.argv.slice(2);
const supervisorProgram = fileURLToPath(new URL('stand-in-supervisor.mjs', import.meta.url));
const show = (document) => console.log(JSON.stringify(document));
try {
  switch (command) {
    case 'start':
    case 'detach':
      await startLocal({
        home,
        plan,
        supervisorProgram,
        detach: command === 'detach',
        json: true,
        ports: JSON.parse(ports),
        output: (text) => show(JSON.parse(text)),
      });
      break;
    case 'stop':
      show(await stopLocal({ home }));
      break;
    case 'status':
      show(await localStatus({ home }));
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = error.exitCode ?? 70;
}
