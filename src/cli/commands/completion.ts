import { Argument, type Command } from 'commander';
import { completionScript, SHELLS, type Shell } from '../completion.js';
import { example } from '../options.js';

/** `steward completion` */
export function addCompletionCommand(program: Command): void {
  example(
    program
      .command('completion')
      .description('print a script that completes commands and options in a shell')
      .addArgument(new Argument('<shell>').choices(SHELLS))
      .action((shell: Shell) => {
        process.stdout.write(completionScript(program, shell));
      }),
    'steward completion bash > ~/.local/share/bash-completion/completions/steward',
    'steward completion zsh > ~/.zfunc/_steward',
    'steward completion fish > ~/.config/fish/completions/steward.fish',
  );
}
