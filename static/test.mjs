// `npm test`: checks the types, builds, and runs the unit tests of the pure modules with node's own runner.

import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('.', import.meta.url));

function must(command, ...args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

must(process.execPath, join(root, 'node_modules/typescript/bin/tsc'), '--noEmit');
must(process.execPath, 'build.mjs');

const out = await mkdtemp(join(tmpdir(), 'headwater-test-'));
try {
  const tests = (await readdir(join(root, 'test'))).filter((file) => file.endsWith('.test.ts'));
  await build({
    absWorkingDir: root,
    entryPoints: tests.map((file) => `test/${file}`),
    outdir: out,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node18',
    logLevel: 'warning',
  });
  const built = tests.map((file) => join(out, file.replace(/\.ts$/, '.mjs')));
  must(process.execPath, '--test', ...built);
} finally {
  await rm(out, { recursive: true, force: true });
}
