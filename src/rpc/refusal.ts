import { constants, type ServerHttp2Stream } from 'node:http2';
import { Code } from '@connectrpc/connect';

export interface Refusal {
  readonly code: Code.Unauthenticated | Code.ResourceExhausted;
  readonly message: string;
}

const AS_HTTP = {
  [Code.Unauthenticated]: { status: 401, word: 'unauthenticated' },
  [Code.ResourceExhausted]: { status: 429, word: 'resource_exhausted' },
} as const;

/** Answers a call before its body is read, in the caller's protocol, and takes nothing more of it. */
export function refuse(
  stream: ServerHttp2Stream,
  contentType: string | undefined,
  { code, message }: Refusal,
): void {
  if (stream.destroyed || stream.closed) return;
  // The caller may be gone, or go on sending what nobody reads.
  stream.on('error', () => {});
  if (contentType?.startsWith('application/grpc')) {
    stream.respond(
      {
        ':status': 200,
        'content-type': contentType,
        'grpc-status': code,
        'grpc-message': encodeURIComponent(message),
      },
      { endStream: true },
    );
  } else {
    const { status, word } = AS_HTTP[code];
    stream.respond({ ':status': status, 'content-type': 'application/json' });
    stream.end(JSON.stringify({ code: word, message }));
  }
  endAfterAnswer(stream, 'finish');
}

/**
 * Ends the stream when its answer is out, unless the body has come whole: the caller is told to stop sending. Node.js alone
 * would keep the stream until somebody has read the body. `out` is what happens last: an answer by the compatibility API
 * asks for trailers after its body, and sends them when they are asked for.
 */
export function endAfterAnswer(stream: ServerHttp2Stream, out: 'finish' | 'wantTrailers'): void {
  stream.once(out, () =>
    setImmediate(() => {
      if (stream.readableEnded) return;
      stream.close(constants.NGHTTP2_NO_ERROR);
      setImmediate(() => stream.destroy());
    }),
  );
}
