"""Kinds: what nodes do, whatever operators spell them. The tables behind ``sites_of``."""

from __future__ import annotations

LINEAR, ACTIVATION, SUM, PRODUCT, MAX_POOL = "linear", "activation", "sum", "product", "max-pool"
SOFTMAX, NORMALISATION, ATTENTION, EMBEDDING = "softmax", "normalisation", "attention", "embedding"
SHAPE, CONCATENATION, RECURRENT, OTHER = "shape", "concatenation", "recurrent", "other"
REDUCTION = "reduction"  # functions of several elements that are none of the others: norms, products, turned pairs
PAIR = "pair"  # a layer and the activation that alone reads it: one node where there is a rule for it
KINDS = (
    LINEAR,
    ACTIVATION,
    SUM,
    PRODUCT,
    MAX_POOL,
    SOFTMAX,
    NORMALISATION,
    ATTENTION,
    EMBEDDING,
    SHAPE,
    CONCATENATION,
    RECURRENT,
    REDUCTION,
    PAIR,
)
CONV, DENSE, POOL, BATCH_NORM, SCALE = "conv", "dense", "pool", "batch-norm", "scale"
FORMS = (CONV, DENSE, POOL, BATCH_NORM, SCALE)  # of linear nodes
EXACT = (EMBEDDING, SHAPE, CONCATENATION)  # what goes to an element there is what came from where it went


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATORS = {
    ACTIVATION: _set(
        "Relu LeakyRelu Sigmoid Tanh Erf Elu Celu Selu Gelu Mish Swish HardSwish HardSigmoid ThresholdedRelu Shrink "
        "Softplus Softsign PRelu Clip FastGelu QuickGelu Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Exp Floor "
        "Log Neg Reciprocal Round Sign Sin Sinh Sqrt Tan QuantizeLinear DequantizeLinear"
    ),
    SUM: _set("Add Sub Sum Mean BiasAdd"),
    PRODUCT: _set("Mul MatMul Div Gemm Einsum FusedMatMul TransposeMatMul Conv ConvTranspose"),
    MAX_POOL: _set("MaxPool GlobalMaxPool ReduceMax ReduceMin Max Min MaxRoiPool"),
    SOFTMAX: _set("Softmax LogSoftmax LinearClassifier LinearRegressor SVMClassifier SVMRegressor"),
    NORMALISATION: _set(
        "LayerNormalization SimplifiedLayerNormalization RMSNormalization GroupNormalization InstanceNormalization "
        "MeanVarianceNormalization LpNormalization LRN SkipLayerNormalization SkipSimplifiedLayerNormalization "
        "EmbedLayerNormalization Normalizer"
    ),
    ATTENTION: _set("Attention MultiHeadAttention GroupQueryAttention QAttention LinearAttention"),
    SHAPE: _set(
        "Reshape Flatten Transpose Squeeze Unsqueeze Slice Split Expand Tile Identity Dropout Cast CastLike Pad Gather "
        "GatherElements GatherND DepthToSpace SpaceToDepth CenterCropPad Compress ReverseSequence Trilu Where TopK "
        "MaxUnpool ScatterElements ScatterND Scatter SplitToSequence SequenceAt "
        "Imputer ArrayFeatureExtractor"
    ),
    CONCATENATION: _set("Concat ConcatFromSequence SequenceConstruct SequenceInsert FeatureVectorizer"),
    REDUCTION: _set(
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare ReduceProd LpPool GlobalLpPool CumProd Det "
        "RotaryEmbedding"
    ),
    RECURRENT: _set("RNN GRU LSTM DynamicQuantizeLSTM"),
}
KIND_OF = {op_type: kind for kind, op_types in OPERATORS.items() for op_type in op_types}
MEANS = _set("AveragePool GlobalAveragePool ReduceMean ReduceSum Resize Upsample CumSum Col2Im")  # no negative weights
ENDS = _set(  # what they make holds no values of a signal: shapes, places, true and false
    "Shape Size ConstantOfShape EyeLike Range NonZero ArgMax ArgMin Unique Not Greater GreaterOrEqual Less LessOrEqual "
    "Equal And Or Xor IsNaN IsInf"
)
SQUASHING = _set("Sigmoid HardSigmoid Softmax Tanh")  # between two numbers: gates
UNARY = _set(  # of each element, without parameters that run
    "Relu LeakyRelu Sigmoid Tanh Erf Elu Celu Selu Gelu Mish Swish HardSwish HardSigmoid Softplus Softsign Clip Abs "
    "Exp Log Neg Reciprocal Sqrt Sin Cos Atan"
)
LIKE_RELU = _set(
    "Relu LeakyRelu PRelu Elu Celu Selu Gelu FastGelu QuickGelu Mish Swish HardSwish ThresholdedRelu Softplus Clip Max "
    "Min gate"
)
NEVER_BELOW = _set("Relu Sigmoid HardSigmoid Softmax Softplus Exp Abs Sqrt ReduceL1 ReduceL2 ReduceSumSquare")  # zero
ZERO_AT_ZERO = _set(
    "Relu LeakyRelu PRelu Elu Celu Selu Gelu QuickGelu Mish Swish HardSwish Tanh Erf Softsign"
)  # of activations without an added constant
MOVED = _set(  # shape operations whose elements all come from what they read
    "Reshape Flatten Transpose Squeeze Unsqueeze Slice Split Expand Tile Identity Dropout DepthToSpace SpaceToDepth"
)
