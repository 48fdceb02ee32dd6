import { createHash, timingSafeEqual } from 'node:crypto';

/** What RFC 6750 allows in a bearer token; shorter ones can be guessed. */
const TOKEN = /^[A-Za-z0-9._~+/-]{16,512}={0,2}$/;

/** The tokens of one file: several while they are rotated. */
export class Tokens {
  readonly #digests: readonly Buffer[];

  private constructor(private readonly tokens: readonly [string, ...string[]]) {
    this.#digests = tokens.map(digest);
  }

  /** One token a line; empty lines and lines that start with # do not count. Errors never quote a token. */
  static parse(text: string): Tokens {
    const lines = text.split(/\r?\n/).map((line, index) => ({ line: line.trim(), number: index + 1 }));
    const tokens = lines.filter(({ line }) => line !== '' && !line.startsWith('#'));
    for (const { line, number } of tokens) {
      if (!TOKEN.test(line)) {
        throw new Error(
          `line ${number} is no token: expected 16 to 512 letters, digits and -._~+/, as "openssl rand -base64 32" prints`,
        );
      }
    }
    const [first, ...rest] = tokens.map(({ line }) => line);
    if (first === undefined) throw new Error('there is no token in it');
    return new Tokens([first, ...rest]);
  }

  get count(): number {
    return this.tokens.length;
  }

  /** The value of the `authorization` header that a client sends. */
  get authorization(): string {
    return `Bearer ${this.tokens[0]}`;
  }

  /** In a time that tells nothing about the tokens. */
  accept(authorization: string | undefined): boolean {
    const given = digest(/^Bearer +(.+)$/i.exec(authorization ?? '')?.[1] ?? '');
    let accepted = false;
    for (const known of this.#digests) accepted = timingSafeEqual(known, given) || accepted;
    return accepted;
  }
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
