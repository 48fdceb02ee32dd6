import { Argument, type Command, Option } from 'commander';
import { candidates, NOUNS, type Noun } from '../candidates.js';
import { completionScript, SHELLS, type Shell } from '../completion.js';
import { withClient } from '../connection.js';
import { example } from '../options.js';

/** Nobody who types waits for longer. */
const LIMIT_MS = 2_500;

/** `steward completion` */
export function addCompletionCommand(program: Command): void {
  example(
    program
      .command('completion')
      .description('print a script that completes commands, options and ids in a shell')
      .addHelpText(
        'after',
        '\nIds are asked of the Steward that commands without options ask, if it answers at once.',
      )
      .addArgument(new Argument('<shell>').choices(SHELLS))
      .addOption(
        new Option('--candidates <noun>', 'print the ids that there are: asked by the script')
          .choices(NOUNS)
          .hideHelp(),
      )
      .action(async (shell: Shell, options: { readonly candidates?: Noun }) => {
        if (options.candidates === undefined) process.stdout.write(completionScript(program, shell));
        else await printCandidates(options.candidates);
      }),
    'steward completion bash > ~/.local/share/bash-completion/completions/steward',
    'steward completion zsh > ~/.zfunc/_steward',
    'steward completion fish > ~/.config/fish/completions/steward.fish',
  );
}

/** One on each line; none, and no word of it, when they cannot be asked for in time. */
async function printCandidates(noun: Noun): Promise<void> {
  // A server that does not answer must not keep the process either.
  setTimeout(() => process.exit(), LIMIT_MS).unref();
  const { STEWARD_COORDINATOR_URL: coordinator, TEMPORAL_ADDRESS: temporalAddress } = process.env;
  const connection = {
    ...(coordinator !== undefined && { coordinator }),
    ...(temporalAddress !== undefined && { temporalAddress }),
  };
  const ids = await withClient(connection, (client) => candidates(client, noun)).catch(() => []);
  process.stdout.write(ids.map((id) => `${id}\n`).join(''));
}
