// Prints, when the process ends, how many files it has loaded, and which packages they are of or have in them.
const { existsSync, readFileSync } = require('node:fs');
const { register } = require('node:module');
const { isMainThread, MessageChannel, receiveMessageOnPort } = require('node:worker_threads');

const HOOKS = `
  let port;
  export const initialize = (given) => { port = given; };
  export const load = (url, context, next) => { port.postMessage(url); return next(url, context); };
`;

// What hooks run in requires this file as well.
if (isMainThread) {
  const { port1, port2 } = new MessageChannel();
  port1.unref();
  register(`data:text/javascript,${encodeURIComponent(HOOKS)}`, { data: port2, transferList: [port2] });
  process.on('exit', () => {
    const files = Object.keys(require.cache);
    for (let one = receiveMessageOnPort(port1); one; one = receiveMessageOnPort(port1))
      files.push(one.message);
    const packages = files
      .flatMap(partsOf)
      .flatMap((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []);
    process.stderr.write(`LOADED ${JSON.stringify([...new Set(packages)])} of ${files.length} files\n`);
  });
}

function partsOf(file) {
  const map = `${file.replace('file://', '')}.map`;
  if (file.includes('node_modules') || !existsSync(map)) return [file];
  return JSON.parse(readFileSync(map, 'utf8')).sources;
}
