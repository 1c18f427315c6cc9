class Fuzzer:
    pass
