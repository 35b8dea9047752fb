/** A model's files in the order of the classifier's constructor. */
export const FILES = [
  "manifest.json",
  "config.json",
  "tokenizer.json",
  "onnx/model_quantized.onnx",
  "head.json",
  "prototypes.json",
];
