import { z } from 'zod';
import { createLogger } from '../log.js';
import { LocalStackError } from './errors.js';
import { runStack, type StackPlan } from './stack.js';
import { listenForStop } from './stop-signals.js';

/** What a detached supervisor is started with, as JSON in its first argument. */
export const SupervisorInput = z.object({
  home: z.string(),
  ports: z.record(z.string(), z.number().int().optional()),
});
export type SupervisorInput = z.infer<typeof SupervisorInput>;

/** What it tells the command that started it, as long as that listens. */
export const SupervisorMessage = z.discriminatedUnion('tell', [
  z.object({ tell: z.literal('progress'), line: z.string() }),
  z.object({ tell: z.literal('running') }),
  z.object({
    tell: z.literal('failed'),
    code: z.enum(['PORT_IN_USE', 'ALREADY_RUNNING', 'START_FAILED']).catch('START_FAILED'),
    message: z.string(),
  }),
]);
export type SupervisorMessage = z.infer<typeof SupervisorMessage>;

/** The whole life of a detached supervisor: its log is its stderr. Ends the process. */
export async function superviseAsProcess(plan: StackPlan): Promise<never> {
  const logger = createLogger('supervisor');
  const tell = (message: SupervisorMessage) => {
    // The command goes its way when the stack runs, or may have been killed.
    if (process.connected) process.send?.(message, undefined, undefined, () => {});
  };
  const signals = listenForStop();
  try {
    await runStack({
      ...SupervisorInput.parse(JSON.parse(process.argv[2] ?? '')),
      plan,
      stop: signals.stop,
      hasten: signals.hasten,
      print: (line) => {
        logger.info(line);
        tell({ tell: 'progress', line });
      },
      onRunning: () => {
        logger.info('running');
        tell({ tell: 'running' });
      },
    });
    logger.info('stopped');
    process.exit(0);
  } catch (error) {
    logger.error({ err: error }, 'the stack could not be started');
    const { code, message, exitCode } = LocalStackError.from(error, 'START_FAILED');
    const last: SupervisorMessage = {
      tell: 'failed',
      code: code === 'PORT_IN_USE' || code === 'ALREADY_RUNNING' ? code : 'START_FAILED',
      message,
    };
    if (!process.connected || process.send === undefined) process.exit(exitCode);
    process.send(last, undefined, undefined, () => process.exit(exitCode));
    return await new Promise<never>(() => {});
  }
}
