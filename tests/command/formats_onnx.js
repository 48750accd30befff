// node formats_onnx.js MODEL.onnx X.txt SHAPE int32|float32: what ONNX Runtime computes for the
// rows of X, all at once and the first alone, as {"logits": [[…]], "y": [[…]]}.
const ort = require('onnxruntime-node');
const fs = require('fs');

async function main() {
    const [file, data, shape, type] = process.argv.slice(2);
    const rows = fs.readFileSync(data, 'utf8').trim().split('\n').map((l) => l.split(' ').map(Number));
    const session = await ort.InferenceSession.create(file, { logSeverityLevel: 3 });
    const run = async (some) => {
        const Values = type === 'int32' ? Int32Array : Float32Array;
        const x = new ort.Tensor(type, Values.from(some.flat()),
            [some.length, ...shape.split('x').map(Number)]);
        return session.run({ x });
    };
    const split = (tensor) => {
        const values = Array.from(tensor.data), width = values.length / tensor.dims[0];
        return Array.from({ length: tensor.dims[0] }, (_, i) => values.slice(i * width, (i + 1) * width));
    };
    const all = await run(rows), one = await run(rows.slice(0, 1));
    if (one.logits.dims[0] !== 1)
        throw new Error('the batch is not dynamic');
    const a = split(all.logits)[0], b = split(one.logits)[0];
    if (a.some((v, i) => Math.abs(v - b[i]) > 1e-5))
        throw new Error('a sample depends on its batch');
    console.log(JSON.stringify({ logits: split(all.logits), y: split(all.y) }));
}

main().catch((error) => { console.error(String(error)); process.exit(1); });
