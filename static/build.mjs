// Builds dist/: the pages, and their scripts and styles under assets/ with the content's hash in the name, so that the
// server may tell browsers to keep them for ever. `npm run build`.

import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('.', import.meta.url));
const dist = join(root, 'dist');
const assets = join(dist, 'assets');

await rm(dist, { recursive: true, force: true });
await mkdir(assets, { recursive: true });

const result = await build({
  absWorkingDir: root,
  entryPoints: ['src/watch.ts', 'src/embed.ts', 'src/home.ts', 'src/publish.ts', 'src/admin.ts', 'src/style/admin.css', 'src/style/publish.css', 'src/style/watch.css', 'src/style/embed.css', 'src/style/home.css'],
  entryNames: '[name]-[hash]',
  // What the watch and the embed page share, hls.js above all, is one file.
  splitting: true,
  chunkNames: 'shared-[hash]',
  outdir: assets,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['es2022', 'safari16'],
  legalComments: 'eof',
  metafile: true,
  logLevel: 'warning',
});

/** What the pages call an asset -> its address. */
const address = new Map();
/** A script -> what it imports, so that browsers fetch it without waiting for the script. */
const imports = new Map();
for (const [file, output] of Object.entries(result.metafile.outputs)) {
  if (!output.entryPoint) continue;
  const name = basename(output.entryPoint).replace(/\.ts$/, '.js');
  address.set(name, `/assets/${basename(file)}`);
  imports.set(name, output.imports.filter((i) => i.kind === 'import-statement').map((i) => `/assets/${basename(i.path)}`));
}
for (const file of await readdir(join(root, 'icons'))) {
  const bytes = await readFile(join(root, 'icons', file));
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 8).toUpperCase();
  const hashed = `${basename(file, extname(file))}-${hash}${extname(file)}`;
  await writeFile(join(assets, hashed), bytes);
  address.set(file, `/assets/${hashed}`);
}

for (const page of await readdir(join(root, 'pages'))) {
  const html = await readFile(join(root, 'pages', page), 'utf8');
  const preloaded = html.replace(/^.*<script type="module" src="\{\{([^}]+)\}\}.*$/gm, (line, name) => {
    const links = (imports.get(name) ?? []).map((to) => `  <link rel="modulepreload" href="${to}">\n`);
    return links.join('') + line;
  });
  const filled = preloaded.replace(/\{\{([^}]+)\}\}/g, (_, name) => {
    const found = address.get(name);
    if (!found) throw new Error(`pages/${page} asks for ${name}, which is not built`);
    return found;
  });
  await writeFile(join(dist, page), filled);
}
