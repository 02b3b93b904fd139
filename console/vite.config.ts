import { defineConfig } from 'vite';
import react from '@vitejs/plugin-react';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2023',
    sourcemap: false,
    // Inlined `data:` assets and the module-preload polyfill would both need exceptions in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: true,
  },
  // The verifier's host lies with the verifier.
  server: { fs: { allow: ['.', '../crates/verify/wasm'] }, port: 4601, proxy: { '/api': process.env.BASE_URL ?? 'http://127.0.0.1:4600' } },
});
