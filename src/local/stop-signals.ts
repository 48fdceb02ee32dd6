export interface StopSignals {
  /** Fires at the first Ctrl-C, SIGTERM or SIGHUP. */
  stop: AbortSignal;
  /** Fires at the second. */
  hasten: AbortSignal;
  /** Gives the signals back to the system. */
  dispose(): void;
}

/** npm passes on the Ctrl-C that the terminal has given us already: two signals so close together are one. */
const SAME_WITHIN_MS = 300;

/** Turns the signals that end a process into two wishes: stop, and hasten. */
export function listenForStop(): StopSignals {
  const stop = new AbortController();
  const hasten = new AbortController();
  let first = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    if (!stop.signal.aborted) {
      first = performance.now();
      stop.abort(new Error(`stopped by ${signal}`));
    } else if (performance.now() - first > SAME_WITHIN_MS) {
      hasten.abort();
    }
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  return {
    stop: stop.signal,
    hasten: hasten.signal,
    dispose: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
