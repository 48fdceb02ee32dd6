import { type DescMessage, type Message, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';

/** What was sent and what came back, for people. */
export interface Told {
  readonly sent: string;
  readonly received: string;
}

interface Exchange {
  readonly method: string;
  readonly request: () => string;
  response: () => string;
}

const LONGEST = 2_000;

/** Remembers the last calls of one check, and which message came from which call. */
export class Transcript {
  #last: Exchange | undefined;
  readonly #origins = new WeakMap<object, Exchange>();

  /** Writes down every call of a client. */
  readonly interceptor: Interceptor = (next) => async (request) => {
    if (request.stream) return next(request);
    const { input, output, name } = request.method;
    const exchange: Exchange = {
      method: name,
      request: () => asJson(input, request.message),
      response: () => 'no answer yet',
    };
    this.#last = exchange;
    try {
      const response = await next(request);
      if (response.stream) return response;
      exchange.response = () => asJson(output, response.message);
      this.#remember(response.message, exchange);
      return response;
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      exchange.response = () => `${Code[error.code]}: ${error.rawMessage}`;
      this.#origins.set(error, exchange);
      throw error;
    }
  };

  /** Writes down a call that no client makes, such as one of junk. */
  note(method: string, sent: string, received: string): object {
    const exchange: Exchange = { method, request: () => sent, response: () => received };
    this.#last = exchange;
    const evidence = {};
    this.#origins.set(evidence, exchange);
    return evidence;
  }

  /** The call that the evidence came from, else the last one; undefined when there was none. */
  tell(evidence: object | undefined): Told | undefined {
    const exchange = (evidence && this.#origins.get(evidence)) ?? this.#last;
    if (exchange === undefined) return undefined;
    return {
      sent: cut(`${exchange.method} ${exchange.request()}`),
      received: cut(exchange.response()),
    };
  }

  #remember(message: Message, exchange: Exchange): void {
    this.#origins.set(message, exchange);
    for (const field of Object.values(message) as unknown[]) {
      if (!Array.isArray(field)) continue;
      for (const item of field as unknown[]) {
        if (typeof item === 'object' && item !== null) this.#origins.set(item, exchange);
      }
    }
  }
}

function asJson(schema: DescMessage, message: Message): string {
  try {
    return JSON.stringify(toJson(schema, message));
  } catch (error) {
    return `(${String(error)})`;
  }
}

function cut(text: string): string {
  if (text.length <= LONGEST) return text;
  return `${text.slice(0, LONGEST)}... (${text.length} characters)`;
}
