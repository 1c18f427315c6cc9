# The table of the fast path: which public functions have one, and what their arguments are to it.
#
# An argument is `role:parameter`, in the order in which they are judged; one name does if the role
# is called as the parameter is.  With a question mark it may be None.

cdef dict operations = {
    "softmax": function_with(one_kernel, SMC_OP_softmax, "rows:x axis scale rows_out:out"),
    "log_softmax": function_with(one_kernel, SMC_OP_log_softmax, "rows:x axis scale rows_out:out"),
    "logsumexp": function_with(
        one_value, SMC_OP_logsumexp, "rows:x axis keepdims values_out:out"),
    "softmax_jacobian": function_with(
        one_kernel, SMC_OP_softmax_jacobian, "dense_rows:s matrix_out:out"),
    "softmax_vjp": function_with(
        one_kernel, SMC_OP_softmax_vjp, "rows:s like_rows:g axis rows_out:out"),
    "softmax_jvp": function_with(
        one_kernel, SMC_OP_softmax_vjp, "rows:s like_rows:v axis rows_out:out"),
    "log_softmax_jacobian": function_with(
        one_kernel, SMC_OP_log_softmax_jacobian, "dense_rows:log_s matrix_out:out"),
    "log_softmax_vjp": function_with(
        one_kernel, SMC_OP_log_softmax_vjp, "rows:log_s like_rows:g axis rows_out:out"),
    "log_softmax_jvp": function_with(
        one_kernel, SMC_OP_log_softmax_jvp, "rows:log_s like_rows:v axis rows_out:out"),
    "logsumexp_vjp": function_with(
        one_kernel, SMC_OP_logsumexp_vjp, "real_rows:x finite:lse value:g rows_out:out"),
    "logsumexp_partial": function_with(partial, SMC_OP_logsumexp_partial, "real_rows:x"),
    "logsumexp_merge": function_with(merge, SMC_OP_logsumexp_merge, "pair:p other_pair:q"),
    "softmax_from_lse": function_with(
        from_lse, SMC_OP_logsumexp_vjp, "real_rows:x exact:lse rows_out:out"),
    "cross_entropy": function_with(
        loss, SMC_OP_cross_entropy,
        "real_rows:x label_smoothing z_loss return_lse target weight? reduction"),
    "cross_entropy_with_grad": function_with(
        loss_with_grad, SMC_OP_cross_entropy,
        "real_rows:x label_smoothing z_loss return_lse target weight? reduction rows_out:out"),
    "cross_entropy_hvp": function_with(
        loss_hvp, SMC_OP_softmax_vjp, "real_rows:s like:v labels:target? reduction rows_out:out"),
    "softmax_layer": function_with(
        layer, SMC_OP_softmax, "features:x weights:W bias:b? rows_out:out"),
    "softmax_layer_jacobian": function_with(
        one_kernel, SMC_OP_softmax_layer_jacobian, "real_rows:s row_features:x matrix_out:out"),
    "softmax_layer_vjp": function_with(
        layer_vjp, SMC_OP_softmax_vjp, "features:x weights:W probabilities:s like:g wrt"),
    "softmax_layer_jvp": function_with(
        layer_jvp, SMC_OP_softmax_vjp,
        "features:x weights:W probabilities:s weight_direction:dW? bias:db? feature_direction:dx?"),
    "linear_cross_entropy": function_with(
        layer_loss, SMC_OP_cross_entropy,
        "features:X weights:W bias:b? label_smoothing z_loss return_lse target weight? reduction"),
    "linear_cross_entropy_with_grad": function_with(
        layer_loss_with_grad, SMC_OP_cross_entropy,
        "features:X weights:W bias:b? label_smoothing z_loss return_lse target weight? reduction "
        "wrt"),
    "linear_cross_entropy_hvp": function_with(
        layer_loss_hvp, SMC_OP_softmax_vjp,
        "features:X weights:W bias:b? weight_direction:V bias_direction:Vb? labels:target? "
        "reduction probabilities:s?"),
}


def fast_path(function):
    """The public function with its fast path before it, if it has one."""
    found = operations.get(function.__name__)
    if found is None:
        return function
    stand_before(found, function)
    return functools.update_wrapper(found, function)


def _roles():
    """For tests: the table, as {function: {parameter: role}}."""
    cdef _PublicFunction function
    found = {}
    for name, value in operations.items():
        function = value
        found[name] = function.roles
    return found


cdef _PublicFunction any_function = function_with(NULL, SMC_OPS, "")
call_by_vector(
    <PyTypeObject *>_PublicFunction,
    <char *>&any_function.entry - <char *><PyObject *>any_function,
)
