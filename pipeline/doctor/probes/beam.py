"""Runs a tiny pipeline on Beam's local runner, named in full as in our pipelines; prints JSON."""

import json


def main() -> None:
    """Prints the version and the runner; fails where a sum does not come out."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.testing.util import assert_that, equal_to

    from components.beam_options import LOCAL_RUNNER, beam_arguments

    with beam.Pipeline(options=PipelineOptions(beam_arguments([]))) as pipeline:
        squares = pipeline | beam.Create([1, 2, 3]) | beam.Map(lambda value: value * value)
        assert_that(squares | beam.CombineGlobally(sum), equal_to([14]))
    print(json.dumps({"version": beam.__version__, "runner": LOCAL_RUNNER.rpartition(".")[2]}))


if __name__ == "__main__":
    main()
