# What arguments of the public functions can be to the fast path: their roles.

# The arrays of a call, by what they are to it.
cdef enum slot:
    X  # what rows are taken from; the logarithm of a pair, and what it lacks the next
    G  # a vector for each row, or a number
    LSE
    OTHER_PAIR = LSE
    TARGET
    WEIGHT  # of the classes
    FEATURES  # of a layer
    W
    B
    V  # the direction in which W moves
    VB
    VX
    OUT
    LACK  # of a logarithm in OUT
    NOTHING  # no array at all
    SLOTS

# What an argument must be; type and shape are those of the first, and of the others before it.
cdef enum role:
    # Whose rows are the classes: the first of an operation.
    ROWS  # C-contiguous, or a sliced matrix
    DENSE_ROWS  # C-contiguous
    REAL_ROWS  # C-contiguous, of float or double
    PAIR  # two arrays or scalars
    LAYER_FEATURES  # of float or double: rows from which a layer makes those of the classes
    # Arrays beside them.
    LIKE  # of the same type and shape, C-contiguous
    LIKE_ROWS  # the same, or a sliced matrix
    FINITE  # a number for each row, none infinite or NaN
    EXACT  # the same, of the type of the rows
    VALUE  # a number for each row, or one for all
    LIKE_PAIR
    ROW_FEATURES  # of each row
    WEIGHTS  # of the layer
    LIKE_WEIGHTS
    BIAS
    BIAS_DIRECTION  # of a layer that has a bias
    LIKE_FEATURES
    LABELS  # integers, one for each row
    LABELS_OR_LIKE  # those or probabilities
    CLASS_WEIGHT
    # How it is done.
    AXIS
    SCALE
    KEEPDIMS
    REDUCTION  # after the target and the weight
    SMOOTHING
    Z_LOSS
    RETURN_LSE
    WRT  # names of gradients of a layer
    # Where the result goes: the last, if there is one.
    ROWS_OUT
    VALUES_OUT
    MATRIX_OUT

cdef dict ROLES = {
    "rows": (ROWS, X),
    "dense_rows": (DENSE_ROWS, X),
    "real_rows": (REAL_ROWS, X),
    "pair": (PAIR, X),
    "other_pair": (LIKE_PAIR, OTHER_PAIR),
    "features": (LAYER_FEATURES, FEATURES),
    "row_features": (ROW_FEATURES, FEATURES),
    "feature_direction": (LIKE_FEATURES, VX),
    "weights": (WEIGHTS, W),
    "weight_direction": (LIKE_WEIGHTS, V),
    "bias": (BIAS, B),
    "bias_direction": (BIAS_DIRECTION, VB),
    "probabilities": (LIKE, X),
    "like": (LIKE, G),
    "like_rows": (LIKE_ROWS, G),
    "finite": (FINITE, LSE),
    "exact": (EXACT, LSE),
    "value": (VALUE, G),
    "labels": (LABELS, TARGET),
    "target": (LABELS_OR_LIKE, TARGET),
    "weight": (CLASS_WEIGHT, WEIGHT),
    "axis": (AXIS, NOTHING),
    "scale": (SCALE, NOTHING),
    "keepdims": (KEEPDIMS, NOTHING),
    "reduction": (REDUCTION, NOTHING),
    "label_smoothing": (SMOOTHING, NOTHING),
    "z_loss": (Z_LOSS, NOTHING),
    "return_lse": (RETURN_LSE, NOTHING),
    "wrt": (WRT, NOTHING),
    "rows_out": (ROWS_OUT, OUT),
    "values_out": (VALUES_OUT, OUT),
    "matrix_out": (MATRIX_OUT, OUT),
}

# What a call begins with: as the value of such an argument, it need not be judged.
cdef dict BEGINNINGS = {
    AXIS: -1,
    SCALE: 1.0,
    KEEPDIMS: False,
    SMOOTHING: 0.0,
    Z_LOSS: 0.0,
    RETURN_LSE: False,
}

cdef enum:
    MOST_WORDS = 10  # of an operation
    MOST_AXES = 32  # of an array


cdef struct arguments:
    PyObject *at[MOST_WORDS]


cdef struct call


# Does what is asked for with what was judged; None for what the function itself has to do.
ctypedef object (*call_body)(call *)


cdef struct word:
    int role, slot
    PyObject *usual  # this very object need not be judged; NULL: any must


# A row of the table: an operation, as the fast path knows it.
cdef struct operation:
    call_body body
    int kernel  # an smc_op
    int count  # of words
    bint has_out  # the last says where the result goes
    word[MOST_WORDS] words  # of the arguments that it takes, in the order in which they are judged


cdef struct span:
    int begin, end  # of the class axes, which lie side by side


# One call: what the judge found.
cdef struct call:
    operation *does
    const smc_kernels *kernels
    ndarray *arrays[SLOTS]  # NULL: none, or a scalar, which is in room
    double[SLOTS] room  # for a number of either type
    cnp.PyArray_Descr *descr  # the type of all arrays
    int number, ndim  # the same, and the shape of rows
    const cnp.npy_intp *shape
    cnp.npy_intp[2] layer_shape  # of the rows that a layer makes
    span axes
    bint sliced  # not all is C-contiguous
    bint keepdims, return_lse
    bint by_features, by_weights, by_bias  # the gradients wanted
    double smoothing, z_loss
    double divisor  # of the sum of losses; 0: no sum
    int out_ndim
    const cnp.npy_intp *out_shape
    cnp.npy_intp[MOST_AXES] own_shape  # where it is no other's
    PyObject *converted  # an array of the call's own, or NULL
    loop work
