/** Lines of shell that steps of several pages share. */

/** Resolves `$1` in the JSON document of the command. */
export const field = (command: string, path: string) =>
  `$(${command} --json | node -p 'JSON.parse(fs.readFileSync(0, "utf8"))${path}')`;
/** Until the command says so; fails after half a minute. */
export const until = (command: string, says: string) =>
  `for i in $(seq 100); do ${command} | grep -Eq '${says}' && break; sleep 0.3; done; [ $i -lt 100 ]`;
/** What is not a command of the CLI asks the stack's own servers. */
export const SERVERS = [
  `export TEMPORAL_ADDRESS=${field('steward local status', '.temporal')}`,
  `export DATABASE_URL=$(node -p 'JSON.parse(fs.readFileSync(".steward/run/stack.json", "utf8")).addresses.databaseUrl')`,
];
/** Until something listens there. */
export const serves = (port: number) =>
  `for i in $(seq 300); do curl -s http://127.0.0.1:${port} >/dev/null; [ $? -ne 7 ] && break; sleep 0.2; done`;
/** An operation that is over on every stack. */
export const MADE = 'npx steward operation show database/demo/create/initial-data';
/** Until the job runs. */
export const runs = (job: string) => until(`steward job list`, `${job} .* RUNNING`);
