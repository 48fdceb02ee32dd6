/** How a browser comes by the token: a page asks for it once, and a cookie keeps it from the Web UI's own code. */

const COOKIE = 'steward-codec-token';

/** @param secure served over TLS; then pages of another site, where the Web UI may be, send it too */
export function cookieFor(token: string, secure: boolean): string {
  return `${COOKIE}=${token}; Path=/; HttpOnly; ${secure ? 'Secure; SameSite=None' : 'SameSite=Lax'}`;
}

export function tokenOfCookie(header: string | undefined): string | undefined {
  for (const part of header?.split(';') ?? []) {
    const [name, ...value] = part.trim().split('=');
    if (name === COOKIE) return value.join('=');
  }
  return undefined;
}

export function tokenOfForm(body: string): string {
  return new URLSearchParams(body).get('token')?.trim() ?? '';
}

export function signInPage(problem = ''): string {
  return page(`<form method="post" action="/">
<p>${problem}</p>
<p><label>Token <input type="password" name="token" autocomplete="current-password" autofocus required></label>
<button>Sign in</button></p>
</form>`);
}

export const SIGNED_IN_PAGE: string = page(
  '<p>This browser is signed in: the Temporal Web UI shows payloads decrypted.</p>',
);

function page(body: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Steward codec server</title>
<h1>Steward codec server</h1>
${body}
</html>
`;
}
