import { Code, ConnectError } from '@connectrpc/connect';

const PLAIN = 'it speaks plain text: ';

/** What Node.js and OpenSSL call the ways in which two ends do not come to trust each other; `CA` is where its CA is named. */
const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_REVOKED: 'its certificate was revoked',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself: CA must name its CA',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is of a CA that is not believed here: CA must name its CA',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is of a CA that is not believed here: CA must name its CA',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'its certificate is of a CA that is not believed here: CA must name its CA',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'its certificate is of a CA that is not believed here: CA must name its CA',
  CERT_SIGNATURE_FAILURE: 'its certificate is not of the CA that is believed here, although of the same name',
  INVALID_PURPOSE: 'its certificate is not one for a server',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it asks for a certificate, and was shown none',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not believe the CA of the certificate that it was shown',
  ERR_SSL_WRONG_VERSION_NUMBER: PLAIN,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: PLAIN,
};

/**
 * Why an error says that two ends do not trust each other, in words with the error's code; undefined when it is another one.
 *
 * @param ca where this side is told whom to believe: the name of a variable
 * @param plain what to do about a server that speaks plain text
 */
export function mistrust(error: unknown, ca: string, plain = 'configure no TLS for it'): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (typeof code !== 'string') continue;
    const reason = REASONS[code] ?? (code.startsWith('ERR_SSL_') ? 'the TLS handshake failed' : undefined);
    if (reason !== undefined)
      return `${reason.replace('CA must', `${ca} must`)}${reason === PLAIN ? plain : ''} (${code})`;
  }
  return undefined;
}

/**
 * A certificate or TLS error as UNAUTHENTICATED with a message that names the cause; anything else as it is. Nothing is
 * known then of what the call asked for (I1).
 */
export function explainTrust(error: unknown, url: string): unknown {
  const reason = mistrust(error, 'STEWARD_TLS_CA', 'its URL must begin with http://');
  if (reason === undefined) return error;
  return new ConnectError(`${url} is not trusted: ${reason}`, Code.Unauthenticated, {}, [], error);
}
