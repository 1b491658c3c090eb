"""Small networks as Keras and tf2onnx write them, with what ONNX Runtime computes for them.

    pip install keras torch onnx onnxscript onnxruntime           # KERAS_BACKEND=torch, Keras' own exporter
    pip install keras tensorflow-cpu tf2onnx onnx onnxruntime     # KERAS_BACKEND=tensorflow, that and tf2onnx
    python tests/peers/exporters.py out/exporters
    EMBDL_PEER_MODELS=out/exporters cargo test -p embdl-onnx --test peers -- --nocapture

The test imports every file and compares it with ONNX Runtime's results, on the scalar reference. The folder gets NAME.onnx,
NAME.json with dimensions, NAME.inI and NAME.outI with 32-bit floats in the file's order. PyTorch's exporters have a script of
their own, crates/embdl-onnx/tests/peers/models.py. Weights are random; statistics of batch normalization are moved away
from 0 and 1, so that folding them wrongly shows.
"""

import argparse
import importlib.metadata
import json
import os
import warnings
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.filterwarnings("ignore")

import keras
import numpy as np
import onnx
import onnxruntime
from keras import layers


def lenet():
    """Pads of both kinds, average pooling, flatten in the order of NHWC."""
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(6, 5, padding="same", activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(84, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ])


def separable():
    """Separable and strided convolutions, batch normalization, ReLU6, residual sums, global pooling."""
    x = inputs = keras.Input((32, 32, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    for stride in (1, 2):
        y = layers.SeparableConv2D(16, 3, strides=stride, padding="same", use_bias=False)(x)
        y = layers.LeakyReLU(negative_slope=0.1)(layers.BatchNormalization()(y))
        z = layers.Conv2D(16, 1, strides=stride, padding="same")(x)
        x = layers.Add()([y, z])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5)(x))


def gates():
    """Squeeze and excitation, swish, hard swish and sigmoid, PReLU, products, concatenation."""
    x = inputs = keras.Input((24, 24, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(x)
    x = layers.Conv2D(12, 3, padding="same", activation="swish")(x)
    x = layers.PReLU(shared_axes=[1, 2])(layers.DepthwiseConv2D(3, padding="same")(x))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    x = layers.Multiply()([x, layers.Conv2D(12, 1, activation="hard_sigmoid")(gate)])
    y = layers.Conv2D(6, 1, activation="elu")(x)
    x = layers.Concatenate()([x, y])
    x = layers.Activation("hard_swish")(layers.Conv2D(10, 3, strides=2, padding="same")(x))
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, activation="sigmoid")(x))


def shapes():
    """Up-sampling, cropping, reshaping, permuting, and a map as the output."""
    x = inputs = keras.Input((16, 20, 4))
    x = layers.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu")(x)
    y = layers.MaxPooling2D(2)(x)
    y = layers.Conv2D(8, 3, padding="same", groups=2)(y)
    y = layers.UpSampling2D(2, interpolation="bilinear")(y)
    x = layers.Concatenate()([x, y])
    x = layers.Cropping2D(((1, 2), (0, 3)))(x)
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Reshape((17, 13, 16))(x)
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(x))


def application(name, size, **options):
    def build():
        network = getattr(keras.applications, name)
        return network(weights=None, input_shape=(size, size, 3), classes=10, **options)

    return build


MODELS = {
    "lenet": lenet,
    "separable": separable,
    "gates": gates,
    "shapes": shapes,
    "mobilenet": application("MobileNet", 64, alpha=0.25),
    "mobilenet_v2": application("MobileNetV2", 64, alpha=0.35),
    "mobilenet_v3_small": application("MobileNetV3Small", 64, alpha=0.75, minimalistic=False),
    "efficientnet_b0": application("EfficientNetB0", 64),
    "resnet50": application("ResNet50", 64),
    "densenet121": application("DenseNet121", 64),
    "xception": application("Xception", 80),
    "nasnet_mobile": application("NASNetMobile", 64),
}


def shaken(model, rng):
    """The model with statistics as training leaves them."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (
                rng.uniform(low, high, layer.moving_mean.shape)
                for low, high in [(0.7, 1.3), (-0.2, 0.2), (-0.2, 0.2), (0.5, 1.5)]
            )
            if layer.scale:
                layer.gamma.assign(gamma)
            if layer.center:
                layer.beta.assign(beta)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
    return model


def by_keras(model, path):
    model.export(str(path), format="onnx", verbose=False)


def by_tf2onnx(model, path):
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="input")]
    function = tf.function(lambda x: model(x, training=False))
    tf2onnx.convert.from_function(function, input_signature=signature, opset=17, output_path=str(path))


def write(folder, full, exporter, model, rng):
    path = folder / f"{full}.onnx"
    try:
        exporter(model, path)
    except Exception as error:
        print(f"{full}: cannot be exported: {type(error).__name__}: {str(error)[:160]}", flush=True)
        path.unlink(missing_ok=True)
        return
    opset = [entry.version for entry in onnx.load(path, load_external_data=False).opset_import if entry.domain == ""]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        print(f"{full}: ONNX Runtime refuses it: {str(error)[:160]}", flush=True)
        path.unlink()
        return
    x = rng.uniform(0, 1, (1, *model.input_shape[1:])).astype(np.float32)
    results = session.run(None, {session.get_inputs()[0].name: x})
    x.tofile(folder / f"{full}.in0")
    for at, result in enumerate(results):
        result.astype(np.float32).tofile(folder / f"{full}.out{at}")
    record = {"inputs": [list(x.shape)], "outputs": [list(result.shape) for result in results]}
    (folder / f"{full}.json").write_text(json.dumps(record))
    own = np.asarray(keras.ops.convert_to_numpy(model(x, training=False)))
    print(f"{full}: written, opset {opset[0]}, ONNX Runtime within {abs(own - results[0]).max():.1e} of Keras", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", choices=[*MODELS, []], help="all by default")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    backend = keras.backend.backend()
    exporters = {f"keras-{backend}": by_keras}
    if backend == "tensorflow":
        exporters["tf2onnx"] = by_tf2onnx
    for package in ["keras", "torch", "onnxscript", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime"]:
        try:
            print(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            pass
    for name in args.models or MODELS:
        keras.utils.set_random_seed(1)
        model = shaken(MODELS[name](), np.random.default_rng(2))
        # With PyTorch, Keras exports what has been called.
        model(np.zeros((1, *model.input_shape[1:]), np.float32))
        for label, exporter in exporters.items():
            write(args.folder, f"{name}.{label}", exporter, model, np.random.default_rng(3))


if __name__ == "__main__":
    main()
