import { execFile } from 'node:child_process';
import { lstat } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** How a command is run so that PostgreSQL, which refuses to be root, accepts it. */
export interface Account {
  /** For people: `as user postgres (uid 101)`. */
  description: string;
  /** Set when the command changes the user. */
  uid?: number;
  gid?: number;
  /** Who has to own the data directory. */
  owner: { uid: number; gid: number };
  command(program: string, args: readonly string[]): { command: string; args: string[] };
}

/** What PostgreSQL has to be able to do under an account. */
export interface AccountNeeds {
  /** A program it runs. */
  program: string;
  /** A directory it owns and writes. */
  directory: string;
}

const plain: Account['command'] = (program, args) => ({ command: program, args: [...args] });

/**
 * The accounts to try, the most robust first. Not root: ourselves, nothing else. Root:
 *
 * 1. a user namespace in which our own uid is called `nobody`: the files stay ours, so that it works wherever the
 *    checkout is, also under a directory that nobody else can enter; some containers forbid it
 * 2. the user `postgres`, then `nobody`: the data directory is given to that user, who has to be able to reach it and the
 *    program
 */
export async function accountsToTry(): Promise<Account[]> {
  const uid = process.getuid?.() ?? -1;
  const gid = process.getgid?.() ?? -1;
  if (uid !== 0) return [{ description: 'as the current user', owner: { uid, gid }, command: plain }];
  const accounts: Account[] = [];
  if (process.platform === 'linux') accounts.push(inUserNamespace(uid, gid));
  for (const name of ['postgres', 'nobody']) {
    const ids = await idsOf(name);
    if (ids === undefined) continue;
    accounts.push({ description: `as user ${name} (uid ${ids.uid})`, ...ids, owner: ids, command: plain });
  }
  return accounts;
}

/** @throws Error that lists what was tried, and what to do, when no account works. */
export async function chooseAccount(needs: AccountNeeds, accounts: readonly Account[]): Promise<Account> {
  const refusals: string[] = [];
  for (const account of accounts) {
    const refusal = await whyNot(account, needs);
    if (refusal === undefined) return account;
    refusals.push(`  ${account.description}: ${refusal}`);
  }
  throw new Error(
    [
      'PostgreSQL refuses to run as root, and no other way to run it works here:',
      ...refusals,
      'Do one of these: run Steward as an ordinary user; move the checkout and STEWARD_HOME to where every user can read;',
      'allow user namespaces in this container; or set DATABASE_URL to a PostgreSQL of your own.',
    ].join('\n'),
  );
}

function inUserNamespace(uid: number, gid: number): Account {
  return {
    description: 'as nobody in a user namespace',
    owner: { uid, gid },
    command: (program, args) => ({
      command: 'unshare',
      args: ['--user', '--map-user=65534', '--map-group=65534', '--', program, ...args],
    }),
  };
}

async function idsOf(user: string): Promise<{ uid: number; gid: number } | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', user]), run('id', ['-g', user])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

const PROBE = `
[ "$(id -u)" != 0 ] || { echo "it would still be root" >&2; exit 1; }
"$1" --version >/dev/null || { echo "cannot run $1" >&2; exit 1; }
[ -w "$2" ] && [ -x "$2" ] || { echo "cannot write $2" >&2; exit 1; }`;

/** Why PostgreSQL could not run under an account; `undefined` when it can. Gives it the directory. */
async function whyNot(account: Account, { program, directory }: AccountNeeds): Promise<string | undefined> {
  await giveTo(directory, account.owner);
  if (account.owner.uid !== 0 && process.getuid?.() !== 0) return undefined;
  const probe = account.command('/bin/sh', ['-c', PROBE, 'probe', program, directory]);
  try {
    await run(probe.command, probe.args, {
      cwd: '/',
      timeout: 10_000,
      ...(account.uid === undefined ? {} : { uid: account.uid }),
      ...(account.gid === undefined ? {} : { gid: account.gid }),
    });
    return undefined;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return (stderr?.trim() || message).split('\n').at(-1) ?? 'failed';
  }
}

async function giveTo(directory: string, owner: { uid: number; gid: number }): Promise<void> {
  if (process.getuid?.() !== 0 || (await lstat(directory)).uid === owner.uid) return;
  await run('chown', ['-R', `${owner.uid}:${owner.gid}`, directory]);
}
