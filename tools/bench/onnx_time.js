// SPDX-License-Identifier: MIT
// Times a network in ONNX Runtime: prints the median seconds, writes its answer as raw f32.
// onnx_time.js RUNTIME NETWORK.onnx INPUT OUTPUT THREADS REPEATS SIDE...

const fs = require('fs')
const [runtime, network, input, output, threads, repeats, ...sides] = process.argv.slice(2)
const ort = require(runtime)
const WARM = 2

async function main() {
  const session = await ort.InferenceSession.create(network, {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    intraOpNumThreads: Number(threads),
    interOpNumThreads: 1
  })
  const bytes = fs.readFileSync(input)
  const numbers = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  const x = new ort.Tensor('float32', numbers, sides.map(Number))
  const times = []
  let answer
  for (let i = 0; i < Number(repeats) + WARM; i++) {
    const start = process.hrtime.bigint()
    answer = await session.run({ x })
    times.push(Number(process.hrtime.bigint() - start) / 1e9)
  }
  const { data } = answer.y
  fs.writeFileSync(output, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  times.splice(0, WARM)
  times.sort((a, b) => a - b)
  // As softlens has it: of an even number the mean of the two in the middle.
  console.log((times[(times.length - 1) >> 1] + times[times.length >> 1]) / 2)
}

main()
