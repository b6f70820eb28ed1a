"""Executes GraphQL requests by plans: documents are parsed, validated and compiled once, and executed by plain calls.

Its one door is `executor.Executor`: made of a schema of graphql-core and of a few functions of the site, it turns a
`GraphQLRequest` into a response, or into one for each event of a subscription. All else in this folder is its inside.

    documents   a request's text → a valid document, remembered; limits estimates its cost before reading validates it,
                slices lets others in meanwhile, literals makes it a template
    operation   an operation of a document, with the literals and variables of a request
    plan        an operation → its root fields and their arguments; variables reads what the request gives for them
    rendering   a selection set → a function that completes values
    answers     long answers, bounded and built in parts
    events      texts of events, written once for any number of sockets
    executor    calls the resolvers, and leaves to graphql-core whatever a plan does not cover

This folder knows no aggregate, no journal and no reader: it could be a library of its own.
"""
