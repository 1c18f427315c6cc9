# Which public functions have a short way, and which of their arguments it takes.

cdef dict short_ways = {
    "softmax": function_with(short_softmax, "x axis scale out"),
    "log_softmax": function_with(short_log_softmax, "x axis scale out"),
    "logsumexp": function_with(short_logsumexp, "x axis keepdims out"),
    "softmax_jacobian": function_with(short_softmax_jacobian, "s out"),
    "softmax_vjp": function_with(short_softmax_product, "s g axis out"),
    "softmax_jvp": function_with(short_softmax_product, "s v axis out"),
    "log_softmax_jacobian": function_with(short_log_softmax_jacobian, "log_s out"),
    "log_softmax_vjp": function_with(short_log_softmax_vjp, "log_s g axis out"),
    "log_softmax_jvp": function_with(short_log_softmax_jvp, "log_s v axis out"),
    "logsumexp_vjp": function_with(short_logsumexp_vjp, "x lse g out"),
    "logsumexp_partial": function_with(short_partial, "x"),
    "logsumexp_merge": function_with(short_merge, "p q"),
    "softmax_from_lse": function_with(short_softmax_from_lse, "x lse out"),
    "softmax_layer": function_with(short_layer, "x W b out"),
    "softmax_layer_jacobian": function_with(short_layer_jacobian, "s x out"),
    "softmax_layer_vjp": function_with(short_layer_vjp, "s x W g"),
    "softmax_layer_jvp": function_with(short_layer_jvp, "s x W dW db dx"),
    "cross_entropy": function_with(
        short_cross_entropy, "x target weight reduction label_smoothing z_loss return_lse"),
    "cross_entropy_with_grad": function_with(
        short_cross_entropy_with_grad,
        "x target weight reduction label_smoothing z_loss return_lse out"),
    "cross_entropy_hvp": function_with(short_cross_entropy_hvp, "s v target reduction out"),
    "linear_cross_entropy": function_with(
        short_layer_loss, "X W target b weight reduction label_smoothing z_loss return_lse"),
    "linear_cross_entropy_with_grad": function_with(
        short_layer_loss_with_grad,
        "X W target b weight reduction label_smoothing z_loss return_lse"),
    "linear_cross_entropy_hvp": function_with(short_layer_hvp, "X W V target b Vb reduction"),
}


def fast_path(function):
    """The public function with its short way before it, if it has one."""
    found = short_ways.get(function.__name__)
    if found is None:
        return function
    stand_before(found, function)
    return functools.update_wrapper(found, function)


cdef _PublicFunction any_function = function_with(NULL, "")
call_by_vector(
    <PyTypeObject *>_PublicFunction,
    <char *>&any_function.entry - <char *><PyObject *>any_function,
)
